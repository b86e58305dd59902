"""The page: look at images, find cells, correct them, take them away; needs the extra `web`."""
