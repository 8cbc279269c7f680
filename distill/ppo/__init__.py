"""Training a teacher: PPO as stable-baselines3 has it, on games and through networks of ours."""
