"""Files that several processes share: written whole, claimed by one owner."""
