-- All scopes of each request in one atomic step. ARGV: the epoch that the caller knows, one for a
-- Redis that is empty, microseconds of a lease, and the steps as JSON. The clock is Redis's own.
--
-- A rate is a field of its subject's hash: the theoretical arrival time (GCRA). Running requests
-- are members of a sorted set, whose score is the end of their lease. A request that has taken
-- rates has a hash of what it took, so repeating a step changes nothing.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local lease = tonumber(ARGV[3])
local epoch = redis.call('GET', KEYS[1])
if not epoch then
  epoch = ARGV[2]
  redis.call('SET', KEYS[1], epoch)
end
-- without its state a caller must first say what it has used
if epoch ~= ARGV[1] then return {epoch} end

local function text(number) return string.format('%.0f', number) end

local function used(key, field, length)
  local at = tonumber(redis.call('HGET', key, field) or '0')
  return math.min(math.max(at - now, 0), length)
end

local function running(key)
  redis.call('ZREMRANGEBYSCORE', key, '-inf', text(now))
  return redis.call('ZCARD', key)
end

local function add(key, field, length, cost)
  local at = now + used(key, field, length) + cost
  redis.call('HSET', key, field, text(at))
  redis.call('PEXPIRE', key, text(length / 500))
  return at
end

local function occupy(key, id)
  redis.call('ZADD', key, text(now + lease), id)
  redis.call('PEXPIRE', key, text(lease / 1000))
end

local function left(limit, value)
  if limit[2] == '' then return limit[3] - value end
  local product = (limit[7] - value) * limit[3]
  return (product - product % limit[7]) / limit[7]
end

-- limit: key, field ('' for running requests), amount, needed, taken, plenty, length, cost
local function reserve(id, hold, limits)
  local values, status = {0}, 0
  local held = id ~= '' and redis.call('EXISTS', hold) == 1
  for i, limit in ipairs(limits) do
    local key, field = limit[1], limit[2]
    local value = field == '' and running(key) or used(key, field, limit[7])
    local own = field == '' and id ~= '' and redis.call('ZSCORE', key, id)
    local free = left(limit, value) + (own and 1 or 0)
    if free < limit[6] then status = 2 end
    if free < limit[4] and status == 0 then status = 1 end
    values[i + 1] = value
  end
  if held then status = 0 end
  values[1] = status
  if status ~= 0 or held or id == '' then return values end
  for i, limit in ipairs(limits) do
    local key, field = limit[1], limit[2]
    if limit[5] > 0 and field == '' then
      occupy(key, id)
      values[i + 1] = redis.call('ZCARD', key)
    elseif limit[5] > 0 then
      local at = add(key, field, limit[7], limit[8])
      redis.call('HSET', hold, key .. '\n' .. field, text(at))
      redis.call('PEXPIRE', hold, text(limit[7] / 1000))
      values[i + 1] = at - now
    end
  end
  return values
end

-- what has drained already is not given back
local function settle(id, hold, limits)
  for _, limit in ipairs(limits) do
    local key, field, unused = limit[1], limit[2], limit[3]
    if field == '' then
      redis.call('ZREM', key, id)
    else
      local taken = redis.call('HGET', hold, key .. '\n' .. field)
      local at = redis.call('HGET', key, field)
      if taken and at then
        unused = math.min(unused, math.max(tonumber(taken) - now, 0))
        redis.call('HSET', key, field, text(tonumber(at) - unused))
      end
    end
  end
  redis.call('DEL', hold)
  return 0
end

local replies = {epoch}
for i, step in ipairs(cjson.decode(ARGV[4])) do
  local reply = 0
  if step[1] == 'reserve' then
    reply = reserve(step[2], step[3], step[4])
  elseif step[1] == 'settle' then
    reply = settle(step[2], step[3], step[4])
  elseif step[1] == 'renew' then
    for _, slot in ipairs(step[2]) do occupy(slot[1], slot[2]) end
  else -- add
    for _, rate in ipairs(step[2]) do add(rate[1], rate[2], rate[3], rate[4]) end
  end
  replies[i + 1] = reply
end
return replies
