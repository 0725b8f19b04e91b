"""Configuration of the servers beside the gateway. ``%(name)s`` stands for what ``peers`` and ``upstream`` fill in."""

# /slow answers after ten seconds, all else at once, with about 130 bytes of JSON.
UPSTREAM = r"""
load_module modules/ndk_http_module.so; load_module modules/ngx_http_lua_module.so;
worker_processes %(workers)d; daemon off; pid %(home)s/upstream.pid; error_log %(home)s/upstream.err;
worker_rlimit_nofile 16384;
events { worker_connections 8192; }
http { access_log off; keepalive_requests 1000000000; keepalive_timeout 600s;
 client_body_temp_path %(home)s/t1; proxy_temp_path %(home)s/t2; fastcgi_temp_path %(home)s/t3;
 uwsgi_temp_path %(home)s/t4; scgi_temp_path %(home)s/t5;
 lua_package_path "/usr/share/lua/5.1/?.lua;;";
 server { listen 127.0.0.1:%(port)d backlog=4096 %(reuse)s; default_type application/json;
  location / { return 200 '{"id":1,"name":"Azure Interior","email":"azure@example.com","phone":"+1 555","city":"Fremont","orders":[1,2,3,4,5,6,7,8,9,10]}'; }
  location /slow { content_by_lua_block { ngx.sleep(10) ngx.say('{"id":1,"name":"Slow Interior"}') } } } }
"""  # noqa: E501 - the upstream's answer is one line

# HS256 check, expiry, a rate counted in shared memory, request id, access log, kept connections to the upstream.
NGINX_LUA = r"""
load_module modules/ndk_http_module.so; load_module modules/ngx_http_lua_module.so;
worker_processes 1; daemon off; pid %(home)s/jwt.pid; error_log %(home)s/jwt.err;
events { worker_connections 4096; }
http { access_log %(home)s/jwt.log; keepalive_requests 1000000000; lua_shared_dict rl 10m;
 client_body_temp_path %(home)s/t1; proxy_temp_path %(home)s/t2; fastcgi_temp_path %(home)s/t3;
 uwsgi_temp_path %(home)s/t4; scgi_temp_path %(home)s/t5;
 lua_package_path "/usr/share/lua/5.1/?.lua;;";
 upstream u { server 127.0.0.1:%(upstream)d; keepalive 64; keepalive_requests 100000000; }
 init_by_lua_block {
   cjson = require "cjson"
   ffi = require "ffi"
   ffi.cdef[[ unsigned char *HMAC(const void *evp_md, const void *key, int key_len, const unsigned char *d, size_t n,
              unsigned char *md, unsigned int *md_len); const void *EVP_sha256(void); ]]
   crypto = ffi.load("libcrypto.so.3")
   md = ffi.new("unsigned char[64]"); mdl = ffi.new("unsigned int[1]")
   function b64d(s)
     s = s:gsub("-", "+"):gsub("_", "/")
     local p = #s %% 4
     if p > 0 then s = s .. string.rep("=", 4 - p) end
     return ngx.decode_base64(s)
   end
 }
 server { listen 127.0.0.1:%(port)d backlog=4096;
  location / {
   access_by_lua_block {
     local a = ngx.var.http_authorization
     if not a then return ngx.exit(401) end
     local h, p, s = a:match("^Bearer ([^.]+)%%.([^.]+)%%.([^.]+)$")
     if not h then return ngx.exit(401) end
     local d = h .. "." .. p
     local key = "%(key)s"
     crypto.HMAC(crypto.EVP_sha256(), key, #key, d, #d, md, mdl)
     if ffi.string(md, mdl[0]) ~= b64d(s) then return ngx.exit(401) end
     local c = cjson.decode(b64d(p))
     if c.exp < ngx.time() then return ngx.exit(401) end
     local n = ngx.shared.rl:incr(c.sub, 1, 0, 1)
     if n > 1e9 then return ngx.exit(429) end
     ngx.req.set_header("X-Request-Id", ngx.var.request_id)
   }
   proxy_pass http://u; proxy_http_version 1.1; proxy_set_header Connection ""; } } }
"""

HAPROXY = """
global
  nbthread 1
  maxconn 8192
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  http-reuse always
frontend f
  bind 127.0.0.1:%(port)d
  http-request set-var(txn.b) http_auth_bearer
  http-request deny deny_status 401 unless { var(txn.b),jwt_header_query('$.alg') -m str HS256 }
  http-request deny deny_status 401 unless { var(txn.b),jwt_verify("HS256","%(key)s") -m int 1 }
  http-request set-var(txn.exp) var(txn.b),jwt_payload_query('$.exp','int')
  http-request deny deny_status 401 unless { var(txn.exp),sub(%(now)d) -m int gt 0 }
  http-request set-var(txn.sub) var(txn.b),jwt_payload_query('$.sub')
  stick-table type string len 64 size 100k expire 60s store http_req_rate(1s)
  http-request track-sc0 var(txn.sub)
  http-request deny deny_status 429 if { sc_http_req_rate(0) gt 1000000000 }
  http-request set-header X-Request-Id %%[uuid()]
  default_backend b
backend b
  server s 127.0.0.1:%(upstream)d
"""

FLASK = """
import uuid
import requests
from flask import Flask, Response
from flask_jwt_extended import JWTManager, jwt_required
app = Flask(__name__)
app.config["JWT_SECRET_KEY"] = "%(key)s"
JWTManager(app)
session = requests.Session()

@app.route("/<path:path>")
@jwt_required()
def relay(path):
    answer = session.get("http://127.0.0.1:%(upstream)d/" + path, headers={"X-Request-Id": uuid.uuid4().hex})
    return Response(answer.content, answer.status_code, content_type=answer.headers["content-type"])
"""
