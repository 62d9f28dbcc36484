/* fetch/fetch.c: libcurl, on a short lead. */
#include "fetch/fetch.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/list.h"
#include "base/secret.h"
#include "base/units.h"
#include "fetch/guard.h"

#define CONNECT_MS 10000

struct fetch {
    struct list node; /* of its fetcher */
    CURL *curl;
    struct curl_slist *headers, *proxy_headers;
    char *body;
    size_t body_len;
    struct buf answer;
    char host[256];
    bool allow_private, tls, proxied;
    bool too_large;
    char refused[FETCH_ERROR_BYTES]; /* why no address was good enough */
    char curl_error[CURL_ERROR_SIZE];
    fetch_done *done;
    void *user;
};

struct fetcher {
    CURLM *multi;
    struct list under_way;
    struct list refused; /* that never set out */
};

enum status
fetch_open(struct fetcher **out)
{
    struct fetcher *fetcher = calloc(1, sizeof *fetcher);
    *out = NULL;
    if (!fetcher || curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        free(fetcher);
        return STATUS_FULL;
    }
    list_init(&fetcher->under_way);
    list_init(&fetcher->refused);
    fetcher->multi = curl_multi_init();
    if (!fetcher->multi) {
        curl_global_cleanup();
        free(fetcher);
        return STATUS_FULL;
    }
    *out = fetcher;
    return STATUS_OK;
}

static void
list_wipe(struct curl_slist *list)
{
    for (struct curl_slist *item = list; item; item = item->next) {
        secret_wipe(item->data, strlen(item->data));
    }
    curl_slist_free_all(list);
}

static void
fetch_free(struct fetch *fetch)
{
    if (!fetch) {
        return;
    }
    list_remove(&fetch->node);
    if (fetch->curl) {
        curl_easy_cleanup(fetch->curl);
    }
    list_wipe(fetch->headers);
    list_wipe(fetch->proxy_headers);
    free(fetch->body);
    buf_free(&fetch->answer);
    free(fetch);
}

static void
free_refused(struct fetcher *fetcher)
{
    while (!list_empty(&fetcher->refused)) {
        fetch_free(list_entry(fetcher->refused.next, struct fetch, node));
    }
}

void
fetch_close(struct fetcher *fetcher)
{
    if (!fetcher) {
        return;
    }
    while (!list_empty(&fetcher->under_way)) {
        struct fetch *fetch = list_entry(fetcher->under_way.next, struct fetch, node);
        (void)curl_multi_remove_handle(fetcher->multi, fetch->curl);
        fetch_free(fetch);
    }
    free_refused(fetcher);
    (void)curl_multi_cleanup(fetcher->multi);
    curl_global_cleanup();
    free(fetcher);
}

/* --- Where it may go. */

static curl_socket_t
open_socket(void *user, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct fetch *fetch = user;
    char digits[ADDRESS_TEXT_BYTES];
    const bool private = address_is_private(&address->addr);
    (void)purpose;
    address_text(&address->addr, digits);
    if (!fetch->proxied && private && !fetch->allow_private) {
        (void)snprintf(fetch->refused, sizeof fetch->refused,
            "%.40s is %.46s, a private address: only 'allow_private: true' lets it", fetch->host,
            digits);
        return CURL_SOCKET_BAD;
    }
    if (!fetch->proxied && !private && !fetch->tls) {
        (void)snprintf(fetch->refused, sizeof fetch->refused,
            "%.40s is %.46s, which is not private: http goes to private addresses alone",
            fetch->host, digits);
        return CURL_SOCKET_BAD;
    }
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

/* What a proxy would be asked for is judged by its name: the address is the proxy's to find. */
static bool
proxied_is_refused(struct fetch *fetch)
{
    if (fetch->proxied && !fetch->tls) {
        (void)snprintf(fetch->refused, sizeof fetch->refused,
            "%.60s is reached through a proxy: write https", fetch->host);
    } else if (fetch->proxied && !fetch->allow_private && host_is_private(fetch->host)) {
        (void)snprintf(fetch->refused, sizeof fetch->refused,
            "%.60s is a private address: only 'allow_private: true' lets it", fetch->host);
    }
    return fetch->refused[0] != '\0';
}

/* --- What it sends and takes. */

static size_t
on_bytes(char *bytes, size_t size, size_t count, void *user)
{
    struct fetch *fetch = user;
    const size_t len = size * count;
    if (fetch->answer.len + len > FETCH_BODY_BYTES_MAX) {
        fetch->too_large = true;
        return 0;
    }
    buf_add(&fetch->answer, bytes, len);
    return fetch->answer.failed ? 0 : len;
}

static bool
add_header(struct curl_slist **list, const char *text)
{
    struct curl_slist *grown = curl_slist_append(*list, text);
    *list = grown ? grown : *list;
    return grown != NULL;
}

static bool
add_headers(struct fetch *fetch, const struct fetch_request *request)
{
    bool good = add_header(&fetch->headers, "Expect:"); /* small bodies do not ask first */
    for (const char *const *header = request->headers; header && *header; header++) {
        good = good && add_header(&fetch->headers, *header);
    }
    if (request->proxy.host && request->proxy.authorization) {
        char line[1024];
        const int len =
            snprintf(line, sizeof line, "Proxy-Authorization: %s", request->proxy.authorization);
        good =
            good && len > 0 && (size_t)len < sizeof line && add_header(&fetch->proxy_headers, line);
        secret_wipe(line, sizeof line);
    }
    return good;
}

#define SET(option, value) (good = curl_easy_setopt(curl, (option), (value)) == CURLE_OK && good)

static bool
set_way(struct fetch *fetch, const struct fetch_request *request)
{
    CURL *curl = fetch->curl;
    bool good = true;
    SET(CURLOPT_URL, request->url);
    SET(CURLOPT_PROTOCOLS_STR, request->tls ? "https" : "http");
    SET(CURLOPT_FOLLOWLOCATION, 0L);
    SET(CURLOPT_OPENSOCKETFUNCTION, open_socket);
    SET(CURLOPT_OPENSOCKETDATA, fetch);
    SET(CURLOPT_FRESH_CONNECT, 1L); /* one that was allowed to go elsewhere is not taken again */
    SET(CURLOPT_FORBID_REUSE, 1L);
    SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    if (request->ca_file) {
        SET(CURLOPT_CAINFO, request->ca_file);
    }
    SET(CURLOPT_PROXY,
        request->proxy.host ? request->proxy.host : ""); /* "": not the environment's either */
    SET(CURLOPT_NOPROXY, "");
    if (request->proxy.host) {
        SET(CURLOPT_PROXYTYPE, (long)CURLPROXY_HTTP);
        SET(CURLOPT_PROXYPORT, (long)request->proxy.port);
        SET(CURLOPT_HTTPPROXYTUNNEL, 1L);
        SET(CURLOPT_HEADEROPT, (long)CURLHEADER_SEPARATE);
        SET(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
        SET(CURLOPT_PROXYHEADER, fetch->proxy_headers);
    }
    return good;
}

static bool
set_options(struct fetch *fetch, const struct fetch_request *request)
{
    CURL *curl = fetch->curl;
    bool good = set_way(fetch, request);
    SET(CURLOPT_PRIVATE, fetch);
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_ERRORBUFFER, fetch->curl_error);
    SET(CURLOPT_CONNECTTIMEOUT_MS, (long)min_i64(CONNECT_MS, request->deadline_ms));
    SET(CURLOPT_TIMEOUT_MS, (long)request->deadline_ms);
    SET(CURLOPT_WRITEFUNCTION, on_bytes);
    SET(CURLOPT_WRITEDATA, fetch);
    SET(CURLOPT_HTTPHEADER, fetch->headers);
    SET(CURLOPT_USERAGENT, "tidegate/" TIDEGATE_VERSION);
    SET(CURLOPT_POST, 1L);
    SET(CURLOPT_POSTFIELDS, fetch->body);
    SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)fetch->body_len);
    return good;
}

#undef SET

bool
fetch_post(
    struct fetcher *fetcher, const struct fetch_request *request, fetch_done *done, void *user)
{
    struct fetch *fetch = calloc(1, sizeof *fetch);
    if (!fetch) {
        return false;
    }
    list_init(&fetch->node);
    fetch->allow_private = request->allow_private;
    fetch->tls = request->tls;
    fetch->proxied = request->proxy.host != NULL;
    fetch->done = done;
    fetch->user = user;
    (void)slice_to_cstr(slice_str(request->host), fetch->host, sizeof fetch->host);
    fetch->curl = curl_easy_init();
    fetch->body = malloc(request->body.len + 1);
    fetch->body_len = request->body.len;
    bool good = fetch->curl && fetch->body && add_headers(fetch, request);
    if (good) {
        memcpy(fetch->body, request->body.ptr ? request->body.ptr : "", request->body.len);
        good = set_options(fetch, request);
    }
    if (good && proxied_is_refused(fetch)) {
        list_push_back(&fetcher->refused, &fetch->node);
        return true;
    }
    if (!good || curl_multi_add_handle(fetcher->multi, fetch->curl) != CURLM_OK) {
        fetch_free(fetch);
        return false;
    }
    list_push_back(&fetcher->under_way, &fetch->node);
    return true;
}

/* --- Turns. */

static void
finish(struct fetch *fetch, CURLcode code)
{
    struct fetch_answer answer = { 0 };
    long status = 0;
    if (code == CURLE_OK
        && curl_easy_getinfo(fetch->curl, CURLINFO_RESPONSE_CODE, &status) == CURLE_OK) {
        answer.status = (int)status;
        answer.body = buf_slice(&fetch->answer);
    } else if (fetch->refused[0]) {
        memcpy(answer.error, fetch->refused, sizeof answer.error);
    } else if (fetch->too_large) {
        (void)snprintf(answer.error, sizeof answer.error, "%.60s answered more than %zu bytes",
            fetch->host, FETCH_BODY_BYTES_MAX);
    } else {
        (void)snprintf(answer.error, sizeof answer.error, "%.60s: %.90s", fetch->host,
            fetch->curl_error[0] ? fetch->curl_error : curl_easy_strerror(code));
    }
    fetch->done(fetch->user, &answer);
    fetch_free(fetch);
}

void
fetch_turn(struct fetcher *fetcher, int64_t wait_ms)
{
    int running = 0;
    int left = 0;
    while (!list_empty(&fetcher->refused)) {
        finish(list_entry(fetcher->refused.next, struct fetch, node), CURLE_COULDNT_CONNECT);
    }
    (void)curl_multi_perform(fetcher->multi, &running);
    const CURLMsg *message = curl_multi_info_read(fetcher->multi, &left);
    if (!message) {
        (void)curl_multi_poll(fetcher->multi, NULL, 0, (int)min_i64(wait_ms, MINUTE_MS), NULL);
        (void)curl_multi_perform(fetcher->multi, &running);
        message = curl_multi_info_read(fetcher->multi, &left);
    }
    for (; message; message = curl_multi_info_read(fetcher->multi, &left)) {
        struct fetch *fetch = NULL;
        if (message->msg == CURLMSG_DONE
            && curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&fetch)
                   == CURLE_OK
            && fetch) {
            const CURLcode code = message->data.result; /* the message goes with its handle */
            (void)curl_multi_remove_handle(fetcher->multi, fetch->curl);
            finish(fetch, code);
        }
    }
}

void
fetch_wake(struct fetcher *fetcher)
{
    (void)curl_multi_wakeup(fetcher->multi);
}
