"""What the notebooks, the API and the streaming layer of Rainbow Workbench share."""
