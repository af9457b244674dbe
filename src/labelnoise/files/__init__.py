"""Files that several processes share: written atomically, claimed by one owner."""
