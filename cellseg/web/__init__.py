"""The page: view images, find, correct and export cells; needs the extra `web`."""
