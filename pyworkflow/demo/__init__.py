"""`pyworkflow demo`: a real job, killed half way and taken up again, with the count to prove it."""
