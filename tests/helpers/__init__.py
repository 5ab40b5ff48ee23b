"""What tests share: made records, simulated campaigns, small models, fake drivers."""
