-- Refuse a learner that may not go on. ARGV: token, epoch.
return learning_refused(ARGV[1], ARGV[2]) or "yes"
