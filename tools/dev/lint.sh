run_lint() { die "not yet"; }
run_fuzz() { die "not yet"; }
