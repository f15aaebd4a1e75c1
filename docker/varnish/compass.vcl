# A cache in front of the service, for Varnish 6 or newer: varnishd -a :80 -f /etc/varnish/compass.vcl.
# docs/caches.md says why each part is as it is. COMPASS_PURGE_URL=http://localhost/images/{id} keeps it right.
vcl 4.1;

import std;

backend compass {
    .host = "127.0.0.1";
    .port = "8000";
    .first_byte_timeout = 610s;         # COMPASS_UPLOAD_DEADLINE and more
    .between_bytes_timeout = 610s;
}

# The services that say which pictures were deleted.
acl purgers {
    "127.0.0.1";
    "::1";
}

sub vcl_recv {
    if (req.method == "PURGE") {
        # Who comes by way of another proxy on this machine has its address, and more than one in this header.
        if (client.ip !~ purgers || req.http.X-Forwarded-For ~ ",") { return (synth(405)); }
        if (req.url !~ "^/images/[a-z2-7]{32}$") { return (synth(400)); }
        ban("obj.http.X-Path ~ ^/(images|iiif/3)/" + regsub(req.url, "^/images/", ""));
        return (synth(200, "Purged"));
    }
    # COMPASS_MAX_UPLOAD_BYTES and 16 KiB for the form. The service says the same before it has read all of the body, which
    # Varnish takes for a failure.
    if (std.integer(req.http.Content-Length, 0) > 67125248) { return (synth(413)); }
    if (req.method != "GET" && req.method != "HEAD") { return (pass); }
    # What is kept: pictures. Streams and originals, of which parts are asked for, are not.
    if (req.url !~ "^/(images/[a-z2-7]{32}(\?|$)|iiif/3/[a-z2-7]{32}/[^?]*/)") { return (pass); }
    # Whoever shows a key, or asks that nothing be kept, speaks to the service.
    if (req.http.Authorization || req.http.X-API-Key || req.http.Cache-Control ~ "no-store") { return (pass); }
    unset req.http.Cookie;

    # One copy of an answer: parameters in one order, and for all browsers that know AVIF, or WebP, one Accept.
    set req.url = std.querysort(req.url);
    if (req.http.Accept ~ "(^|,)\s*image/avif\s*(,|$)") {
        set req.http.Accept = "image/avif,image/webp,*/*;q=0.8";
    } elsif (req.http.Accept ~ "(^|,)\s*image/webp\s*(,|$)") {
        set req.http.Accept = "image/webp,*/*;q=0.8";
    }
    return (hash);
}

sub vcl_backend_response {
    set beresp.http.X-Path = bereq.url;
    set beresp.grace = 0s;              # else what has ended is given out a little longer
    if (beresp.status != 200 || beresp.http.Cache-Control !~ "public") {
        set beresp.uncacheable = true;
        set beresp.ttl = 1s;            # so long others do not wait for each other
    }
}

sub vcl_synth {
    if (resp.status == 413) {
        set resp.http.Content-Type = "application/problem+json";
        synthetic({"{"type":"about:blank","title":"Upload too large","detail":"the limit is 64 MiB","status":413}"});
        return (deliver);
    }
}

sub vcl_backend_error {
    set beresp.http.Content-Type = "application/problem+json";
    set beresp.http.Retry-After = "2";
    synthetic({"{"type":"about:blank","title":"Service unavailable","detail":"the service does not answer","status":503}"});
    return (deliver);
}

sub vcl_deliver {
    unset resp.http.X-Path;
    if (obj.hits > 0) { set resp.http.X-Cache = "HIT"; } else { set resp.http.X-Cache = "MISS"; }
}
