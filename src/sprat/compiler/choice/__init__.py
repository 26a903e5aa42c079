"""From recipe to candidates and from candidates to one choice; the search of the factory's parameters."""
