/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The part of the S3 protocol that a repository needs, over libcurl: one request after the other, signed with AWS
 * signature version 4, path style, retried when the server or the line fails. */

#include <curl/curl.h>

#include "hash.h"
#include "progress.h"

/* A page of a listing (1 000 names), with room; the largest document that is read without the caller's own limit. */
#define S3_DOCUMENT_MAX ((size_t) 8 << 20)
/* How often a request is sent when the server says 5xx or the connection breaks. */
#define S3_TRIES 3U

typedef struct S3 {
        CURL *easy;
        char *endpoint; /* "https://host:port" */
        char *bucket;   /* NULL: none in the URL; then the place can only be read */
        char *prefix;   /* "" or "some/folder/" */
        char *access_key, *secret_key, *token;
        char *region;
        char *ca_file;
} S3;

/* url: scheme, host and path; credentials, region and extra certificates from the environment. */
int s3_new(const char *url, S3 **ret, Error *reterr);
S3 *s3_free(S3 *s);
DEFINE_CLEANUP(S3 *, s3_free)
/* REFUSAL_KEY without credentials, naming the variables. */
int s3_require_credentials(const S3 *s, Error *reterr);

typedef struct S3Request {
        const char *method;     /* GET, HEAD, PUT, POST, DELETE */
        const char *name;       /* below the prefix; NULL: the bucket itself */
        const char *query;      /* encoded, sorted by name, every name with "="; NULL: none */
        const char *headers[4]; /* "Name: value" */
        const void *data;       /* what is sent, or, if NULL, from fd: */
        int fd;                 /* only looked at if size is not 0 */
        uint64_t offset;
        uint64_t size;
        const Sha256 *sha256; /* of what is sent; NULL: is computed */
        size_t max_size;      /* of the answer; 0: S3_DOCUMENT_MAX */
        Progress *progress;   /* bytes sent */
} S3Request;

typedef struct S3Response {
        long status;
        char *code; /* the server's own word for an error: "NoSuchKey"; NULL: none */
        char *message;
        char *bucket_region;
        char *etag;
        Buffer body;
        uint64_t size;    /* Content-Length */
        int64_t date;     /* the server's clock; -1: it does not say */
        int64_t modified; /* Last-Modified; -1 */
} S3Response;
void s3_response_done(S3Response *r);
#define _cleanup_s3_response_ _cleanup_(s3_response_done)

typedef enum S3Outcome {
        S3_OK = 0,
        S3_NOT_FOUND = 1,   /* no such object or upload (but not: no such bucket) */
        S3_CONDITION = 2,   /* 409, 412: If-None-Match does not hold */
        S3_UNSUPPORTED = 3, /* 501: the server does not know a header or parameter */
} S3Outcome;

int s3_request(S3 *s, const S3Request *q, S3Response *ret, Error *reterr);

/* A request's failure as the user needs it: which variable, which bucket, whose clock (s3-error.c). */
int s3_error(const S3 *s, const S3Request *q, const S3Response *response, Error *reterr);
/* Sets code, message and bucket_region from an error document; false: the body is none. */
bool s3_error_parse(S3Response *response);

/* Calls back at the end of each element with the names from the root on ("ListBucketResult/Contents/Key") and its own
 * text. Document types, deep nesting and long texts are refused. */
typedef void (*S3XmlHandler)(const char *path, const char *text, void *userdata);
int s3_xml_parse(const char *data, size_t size, S3XmlHandler handler, void *userdata, Error *reterr);
void s3_xml_append(Buffer *b, const char *text); /* escaped */

/* Everything but unreserved characters (RFC 3986) percent-encoded, which no signer reads in two ways; keep_slashes for
 * paths. */
char *s3_encode(const char *text, bool keep_slashes);

/* The Authorization header of AWS signature version 4, for requests that libcurl signs wrongly (s3-request.c says
 * which). path and query are canonical already, headers ("Name: value") are all that are to be signed, when is
 * "20130524T000000Z". */
char *s3_sign(const S3 *s, const char *method, const char *path, const char *query, const char *const *headers,
              const char *payload_sha256, const char *when);

/* Multipart uploads, remembered in $XDG_STATE_HOME/sealab/uploads until they are finished, so that the next run sends
 * only the parts that are missing. before_part (may be NULL) is called before each part. */
typedef int (*S3BeforePart)(void *userdata, Error *reterr);
int s3_upload(S3 *s, const char *name, int fd, uint64_t size, const char *const headers[2], S3BeforePart before_part,
              void *userdata, Progress *progress, Error *reterr);
/* Tells the server to forget this place's uploads that nobody has continued for a week. */
void s3_upload_abort_stale(S3 *s);
