-- For wrk: the same POST again and again, to one path after the other; one line of JSON at the end.
--   wrk -s post.lua ... URL -- CONTENT-TYPE BODY-FILE PATH...

local threads = {}

function setup(thread)
  table.insert(threads, thread)
end

function init(args)
  local file = assert(io.open(args[2], "rb"))
  local body = file:read("*a")
  file:close()
  requests = {}
  for i = 3, #args do
    requests[#requests + 1] = wrk.format("POST", args[i], { ["Content-Type"] = args[1] }, body)
  end
  turn = 0
  statuses = {}
end

function request()
  turn = turn % #requests + 1
  return requests[turn]
end

function response(status)
  local key = tostring(status)
  statuses[key] = (statuses[key] or 0) + 1
end

function done(summary, latency)
  local total = {}
  for _, thread in ipairs(threads) do
    for status, count in pairs(thread:get("statuses")) do
      total[status] = (total[status] or 0) + count
    end
  end
  local counts = {}
  for status, count in pairs(total) do
    counts[#counts + 1] = string.format('"%s": %d', status, count)
  end
  local failed = summary.errors
  io.write(string.format(
    'JSON {"seconds": %.6f, "p50_ms": %.3f, "p90_ms": %.3f, "p99_ms": %.3f, "broken": %d, "statuses": {%s}}\n',
    summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(90) / 1e3, latency:percentile(99) / 1e3,
    failed.connect + failed.read + failed.write + failed.timeout, table.concat(counts, ", ")))
end
