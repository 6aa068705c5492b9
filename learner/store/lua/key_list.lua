-- Every key record, in no order.
return redis.call("HVALS", P .. "keys")
