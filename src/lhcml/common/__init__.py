"""What several stages share: files, seeds, logging, command lines, plot style."""
