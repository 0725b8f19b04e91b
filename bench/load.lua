-- Arguments: a file of tokens ("-": none), a file of paths ("-": that of the URL), a file that is POSTed ("-": GET), the
-- scheme of the tokens, the media type of the body.
-- wrk has set the Host field before it calls init. All requests are made beforehand: the load generator shall cost little.
local requests, count, at = {}, 0, 0

local function lines(name)
  local found = {}
  if name ~= nil and name ~= "-" then
    for line in io.lines(name) do found[#found + 1] = line end
  end
  return found
end

function init(args)
  local tokens, paths = lines(args[1]), lines(args[2])
  local method, body = "GET", nil
  if args[3] ~= nil and args[3] ~= "-" then
    method, body = "POST", io.open(args[3]):read("*a")
    wrk.headers["Content-Type"] = args[5]
  end
  count = math.max(#tokens, #paths, 1)
  for i = 0, count - 1 do
    if #tokens > 0 then wrk.headers["Authorization"] = args[4] .. " " .. tokens[i % #tokens + 1] end
    local path = nil
    if #paths > 0 then path = paths[i % #paths + 1] end
    requests[i + 1] = wrk.format(method, path, nil, body)
  end
end

function request()
  at = at % count + 1
  return requests[at]
end

function done(summary, latency, all)
  local errors = summary.errors
  io.write(string.format(
    'FIGURES {"requests": %d, "seconds": %f, "p50_ms": %f, "p99_ms": %f, "max_ms": %f, "bad": %d}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3, latency.max / 1e3,
    errors.status + errors.connect + errors.read + errors.write + errors.timeout))
end
