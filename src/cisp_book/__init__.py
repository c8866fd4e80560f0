"""What the chapters share: claims and verdicts, kept tables, and the studies behind them."""
