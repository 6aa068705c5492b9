-- One request begins: the pointer it pins, its conversation with the lock, what is known of its messages, its retry.
local a = cjson.decode(ARGV[1])
local s = redis.call("HMGET", P .. "state", "live", "previous", "epoch", "frozen", "stopped", "policy")
local idempotent = {}

local function retry_of(key)
  local row = redis.call("HMGET", key, "state", "request_id", "answer", "until_ms")
  if not row[1] then
    return {}
  end
  if row[1] == "running" and (row[2] == a.request_id or tonumber(row[4]) <= a.now_ms) then
    return {}
  end
  return { row[1], row[2], row[3] or "" }
end

local function conversation_of()
  if a.conversation then
    return a.conversation
  end
  for _, hmac in ipairs(a.prefixes) do
    local found = redis.call("GET", P .. "prefix:" .. hmac)
    if found then
      return found -- empty when two conversations have come this way: then it is neither
    end
  end
  return ""
end

local function take_lock(key)
  local lock = redis.call("HMGET", key, "lock", "lock_until_ms")
  if lock[1] and lock[1] ~= a.request_id and tonumber(lock[2]) > a.now_ms then
    return "busy"
  end
  redis.call("HSET", key, "lock", a.request_id, "lock_until_ms", a.lock_until_ms)
  delete_after(key, a.lock_until_ms)
  return "got"
end

local idempotency_key = a.idempotency and P .. "idempotency:" .. a.idempotency
if idempotency_key then
  idempotent = retry_of(idempotency_key)
end
local conversation = conversation_of()
local key = P .. "conversation:" .. conversation
local lock, seen, last = "none", {}, {}
if conversation ~= "" then
  if a.lock and #idempotent == 0 then
    lock = take_lock(key)
  end
  last = redis.call("HMGET", key, "reply", "request_id", "version")
  for i, hmac in ipairs(a.messages) do
    seen[i] = redis.call("HGET", key, "m:" .. hmac) or ""
  end
end
if idempotency_key and #idempotent == 0 and lock ~= "busy" then
  redis.call("HSET", idempotency_key, "state", "running", "request_id", a.request_id, "until_ms", a.lock_until_ms)
  delete_after(idempotency_key, a.lock_until_ms)
end
return {
  { s[1] or "", s[2] or "", s[3] or "", s[4] or "", s[5] or "", s[6] or "" },
  conversation, lock, seen, { last[1] or "", last[2] or "", last[3] or "" }, idempotent,
}
