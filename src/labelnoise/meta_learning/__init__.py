"""Methods that look ahead: what is learned changes so that a virtual step of the network lowers another loss."""
