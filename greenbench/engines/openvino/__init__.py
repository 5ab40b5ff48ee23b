"""OpenVINO: its environment, its export tool, and its server of what that writes."""
