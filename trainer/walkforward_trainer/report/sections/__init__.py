"""The sections of the page, one a question; each returns nothing where the report has nothing to say."""
