//! Remote calls: a client asks, a service of the platform answers.
//! Reads: requests, answers. Writes: effects. Never: lets a client name a service; configuration maps methods,
//! and the client's identity goes along with the question, taken from its token.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use campana_bus::CallError;

use super::{BuiltIn, Effect, Report, Session};
use crate::codes::{ReplyError, disconnect, error};
use crate::encode;
use crate::proto::RpcRequest;
use crate::rules::Denial;

/// Errors of services that clients see: their numbers are passed on from here to [`SERVICE_ERROR_MAX`].
pub const SERVICE_ERROR: u32 = 400;
/// From here on the number is of the service's own trouble, which is nobody else's business.
pub const SERVICE_ERROR_MAX: u32 = 499;
/// Characters of a service's error text that are passed on.
const MESSAGE_CHARS_MAX: usize = 200;

/// A question to a service.
#[derive(Debug)]
pub struct Call {
    /// The command to answer.
    pub command: u32,
    /// The service's name.
    pub service: String,
    /// The endpoint's name.
    pub endpoint: String,
    /// How long the service may take.
    pub timeout: Duration,
    /// The caller's tenant.
    pub tenant: String,
    /// JSON about the caller.
    pub info: String,
    /// The question.
    pub data: Bytes,
    /// If set, the edge answers it itself and the rest is empty.
    pub built_in: Option<Box<BuiltIn>>,
}

/// Why a call has no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallFailure {
    code: u32,
    message: Cow<'static, str>,
    temporary: bool,
}

impl CallFailure {
    /// An error of a service's own, whose code was checked.
    pub(super) const fn of_service(code: u32, message: Cow<'static, str>, temporary: bool) -> Self {
        Self { code, message, temporary }
    }

    pub(super) const fn is_temporary(&self) -> bool {
        self.temporary
    }

    /// Code, text, and whether to try again.
    pub(super) fn into_parts(self) -> (u32, Cow<'static, str>, bool) {
        (self.code, self.message, self.temporary)
    }
}

impl From<ReplyError> for CallFailure {
    fn from(error: ReplyError) -> Self {
        let ReplyError { code, message, temporary } = error;
        Self { code, message: Cow::Borrowed(message), temporary }
    }
}

impl From<CallError> for CallFailure {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Service { code, message }
                if (SERVICE_ERROR..=SERVICE_ERROR_MAX).contains(&u32::from(code)) =>
            {
                let message: String = message.chars().take(MESSAGE_CHARS_MAX).collect();
                Self { code: code.into(), message: message.into(), temporary: false }
            }
            // Overloaded: the service did nothing.
            CallError::Service { code: 503, .. } => error::TOO_MANY_REQUESTS.into(),
            CallError::TooLarge { .. } => error::LIMIT_EXCEEDED.into(),
            _ => error::INTERNAL.into(),
        }
    }
}

impl Session {
    pub(super) fn rpc(
        &mut self,
        id: u32,
        request: RpcRequest,
        out: &mut Vec<Effect>,
    ) -> Result<(), Denial> {
        if self.built_in(id, &request, out)? {
            return Ok(());
        }
        let Some(who) = &self.who else {
            return Err(Denial::Close(disconnect::BAD_REQUEST));
        };
        let target = self.rules.rpc(&request.method)?;
        let call = Call {
            command: id,
            service: target.service.clone(),
            endpoint: target.endpoint.clone(),
            timeout: Duration::from_millis(target.timeout_ms),
            tenant: who.tenant.as_str().to_owned(),
            info: self.client_info(who, None),
            data: request.data,
            built_in: None,
        };
        self.begin(call, out)
    }

    /// A one-way message: the service's answer goes nowhere, and so does its refusal.
    pub(super) fn send(&mut self, data: Bytes, out: &mut Vec<Effect>) -> Result<(), Denial> {
        let (Some(who), target) = (&self.who, &self.rules.options.send) else {
            return Err(Denial::Close(disconnect::BAD_REQUEST));
        };
        if !target.is_on() {
            return Err(Denial::Close(disconnect::NOT_AVAILABLE));
        }
        let call = Call {
            command: 0,
            service: target.service.clone(),
            endpoint: target.endpoint.clone(),
            timeout: target.timeout(),
            tenant: who.tenant.as_str().to_owned(),
            info: self.client_info(who, None),
            data,
            built_in: None,
        };
        self.begin(call, out)
    }

    fn begin(&mut self, call: Call, out: &mut Vec<Effect>) -> Result<(), Denial> {
        if self.calls >= self.rules.options.rpc_calls_per_client_max {
            return Err(error::TOO_MANY_REQUESTS.into());
        }
        self.calls += 1;
        out.push(Effect::Call(call));
        Ok(())
    }

    /// A service answered, or did not.
    pub(super) fn called(
        &mut self,
        id: u32,
        result: Result<Bytes, CallFailure>,
        out: &mut Vec<Effect>,
    ) {
        self.calls = self.calls.saturating_sub(1);
        if id > 0 {
            self.reply_to_call(id, result, out);
        }
    }

    /// The same for a call that did not count.
    pub(super) fn reply_to_call(
        &mut self,
        id: u32,
        result: Result<Bytes, CallFailure>,
        out: &mut Vec<Effect>,
    ) {
        let limit = self.rules.options.rpc_answer_bytes_max;
        let answer = result.and_then(|data| {
            if data.len() > limit {
                return Err(error::LIMIT_EXCEEDED.into());
            }
            // Bytes that a JSON client cannot be given are the service's mistake, not the client's.
            encode::called(self.protocol, id, &data).map_err(|_| error::INTERNAL.into())
        });
        match answer {
            Ok(encoded) => out.push(Effect::Send(encoded)),
            Err(CallFailure { code, message, temporary }) => {
                out.push(Effect::Report(Report::Refused(code)));
                let refusal = encode::refusal(self.protocol, id, code, &message, temporary);
                out.push(Effect::Send(refusal));
            }
        }
    }
}
