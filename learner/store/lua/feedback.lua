-- One rating of one exchange by one author. ARGV: order (request_id, author, rating, at_ms, cap, keep_ms), event JSON.
-- Returns recorded, duplicate or capped. Untrusted: a good rating is a condition to learn, never enough.
local c = cjson.decode(ARGV[1])
local exchange = P .. "exchange:" .. c.request_id
if redis.call("EXISTS", exchange) == 0 then
  return refuse("unknown", "no recent exchange has this request id; feedback must name the X-Tayguard-Request-Id of one")
end
local ratings = P .. "feedback:" .. c.request_id
if redis.call("HEXISTS", ratings, c.author) == 1 then
  return "duplicate"
end
local day = P .. "fed:" .. day_of(c.at_ms)
if tonumber(redis.call("HGET", day, c.author) or 0) >= c.cap then
  return "capped"
end
redis.call("HINCRBY", day, c.author, 1)
delete_after(day, c.at_ms + 2 * 86400000)
redis.call("HSET", ratings, c.author, c.rating)
delete_after(ratings, c.at_ms + c.keep_ms)
redis.call("HSETNX", P .. "author:" .. c.author, "first_ms", c.at_ms)
delete_after(P .. "author:" .. c.author, c.at_ms + c.author_ms)
local sample = redis.call("HGET", exchange, "sample")
local key = P .. "sample:" .. (sample or "")
local row = redis.call("HMGET", key, "kind", "pattern")
if row[1] then
  redis.call("HINCRBY", key, c.rating == "up" and "good" or "bad", 1)
  if row[1] == "exchange" and c.rating == "up" then
    redis.call("HSET", P .. "pattern:" .. row[2], "f:" .. c.author, 1)
    keep_pattern(P .. "pattern:" .. row[2], c.at_ms)
  end
end
redis.call("XADD", P .. "log", "*", "e", ARGV[2])
return "recorded"
