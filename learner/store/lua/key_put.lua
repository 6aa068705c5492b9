-- Create a key (ARGV[2] is its record) or revoke one (ARGV[2] is empty).
local change = cjson.decode(ARGV[1])
local record = ARGV[2]
if record == "" then
  local known = redis.call("HGET", P .. "keys", change.key)
  if not known then return refuse("unknown", "no key has the id " .. change.key .. "; `tayguard keys list` shows them") end
  local row = cjson.decode(known)
  if row.revoked_ms > 0 then return change.key end
  row.revoked_ms = change.at_ms
  record = cjson.encode(row)
end
redis.call("HSET", P .. "keys", change.key, record)
log_event(change)
return change.key
