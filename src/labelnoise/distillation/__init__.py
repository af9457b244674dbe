"""Methods in which a network learns from another one: a teacher that is trained first, or a peer beside it."""
