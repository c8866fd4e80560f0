"""The neighbours: four systems that ask the same question, each a small module of its own."""
