"""What our desk adds to walkforward."""
