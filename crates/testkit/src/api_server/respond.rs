//! One request, one answer.

use std::{convert::Infallible, future};

use http::{Method, Request, Response};
use hyper::body::Bytes;
use kube::client::Body;
use serde_json::{Value, json};

use super::{
    ApiServer, Fault,
    body::AnswerBody,
    record::Recorded,
    request::Refusal,
    route::Route,
    selector::selects,
    state::State,
    watch::Watcher,
    write::{PatchKind, key_of},
};

pub(super) async fn answer(server: ApiServer, request: Request<Body>) -> Result<Response<AnswerBody>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect_bytes().await.unwrap_or_default();
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let Some(route) = Route::parse(&head.uri) else {
        return Ok(document(404, &Refusal::new(404, "NotFound", "the server could not find the requested resource").body()));
    };
    let verb = route.verb(&head.method);
    let recorded = Recorded {
        verb,
        group: route.group.clone(),
        resource: route.resource.clone(),
        subresource: route.subresource.clone(),
        namespace: route.namespace.clone(),
        name: route.name.clone(),
        manager: route.parameter("fieldManager").to_owned(),
        answer: 0,
    };
    let fault = {
        let mut state = server.state.lock();
        state.recorded.push(recorded.clone());
        state.faults.meet(&recorded)
    };
    match fault {
        Some(Fault::Hang) => future::pending().await,
        Some(Fault::Status(code, reason)) => return Ok(refuse(&server, &Refusal::new(code, reason, "a scripted fault"))),
        Some(Fault::AfterCommit(_)) | None => {}
    }
    if verb == "watch" {
        let (watcher, lines) = Watcher::new(route.clone());
        let since = route.parameter("resourceVersion").parse().unwrap_or(0);
        server.state.lock().watch(watcher, since);
        return Ok(Response::new(AnswerBody::Lines(lines)));
    }
    // Asked outside of the lock: a test's answer may look at the server's objects.
    let answers = server.state.lock().answers.clone();
    if verb == "create"
        && let Some(review) = answers.review(&route, &body)
    {
        note(&server, 201);
        return Ok(document(201, &review));
    }
    let content_type = head.headers.get("content-type").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let outcome = dispatch(&mut server.state.lock(), &route, &head.method, content_type, body);
    if let Some(Fault::AfterCommit(code)) = fault {
        return Ok(refuse(&server, &Refusal::new(code, "InternalError", "a scripted fault after the fact")));
    }
    Ok(match outcome {
        Ok((code, object)) => {
            note(&server, code);
            document(code, &object)
        }
        Err(refusal) => refuse(&server, &refusal),
    })
}

fn dispatch(state: &mut State, route: &Route, method: &Method, content_type: &str, body: Value) -> Result<(u16, Value), Refusal> {
    match *method {
        Method::GET if route.name.is_empty() => Ok((200, list(state, route))),
        Method::GET => {
            let key = key_of(route, &route.name);
            state.object(&key).cloned().map(|object| (200, object)).ok_or_else(|| Refusal::not_found(&key))
        }
        Method::POST => state.create(route, body),
        Method::PUT => state.update(route, body),
        Method::PATCH => match content_type {
            "application/apply-patch+yaml" => state.patch(route, PatchKind::Apply, &body),
            "application/merge-patch+json" => state.patch(route, PatchKind::Merge, &body),
            other => Err(Refusal::new(415, "UnsupportedMediaType", format!("{other} is not simulated"))),
        },
        Method::DELETE if !route.name.is_empty() => state.delete(route, &body),
        _ => Err(Refusal::new(405, "MethodNotAllowed", "not simulated")),
    }
}

fn list(state: &State, route: &Route) -> Value {
    let (labels, fields) = (route.parameter("labelSelector"), route.parameter("fieldSelector"));
    let items: Vec<&Value> = state.selected(route).filter(|object| selects(object, labels, fields)).collect();
    json!({
        "apiVersion": "v1",
        "kind": "List",
        "metadata": { "resourceVersion": state.version().to_string() },
        "items": items,
    })
}

fn refuse(server: &ApiServer, refusal: &Refusal) -> Response<AnswerBody> {
    note(server, refusal.code);
    document(refusal.code, &refusal.body())
}

/// Requests of one test are mostly one after the other; the answer is noted at the last request without one.
fn note(server: &ApiServer, code: u16) {
    if let Some(request) = server.state.lock().recorded.iter_mut().rev().find(|request| request.answer == 0) {
        request.answer = code;
    }
}

fn document(code: u16, value: &Value) -> Response<AnswerBody> {
    let mut response = Response::new(AnswerBody::Whole(Some(Bytes::from(value.to_string()))));
    *response.status_mut() = http::StatusCode::from_u16(code).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert("content-type", http::HeaderValue::from_static("application/json"));
    response
}
