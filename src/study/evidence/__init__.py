"""What the rows say: statistics, claims, verification, costs, differences."""
