"""What execution costs, measured from closed trades: slippage by time of day and by volatility, for the costs of later backtests."""
