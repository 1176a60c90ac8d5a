"""Selection of events and objects, with cutflows and systematic shifts."""
