"""What a gate looks at: the same answers as the research model, better than a yardstick, within the budget."""
