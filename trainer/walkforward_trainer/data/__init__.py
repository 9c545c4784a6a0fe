"""Where rows come from: files, databases, ticks, trades; and what they must be."""
