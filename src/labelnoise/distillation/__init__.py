"""Methods in which a network learns from another one: a teacher or features that come first, or a peer beside it."""
