-- What a day's draws took: owner and count, flat. ARGV: at_ms.
return redis.call("HGETALL", P .. "drawn:" .. day_of(ARGV[1]))
