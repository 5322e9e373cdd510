use entrepot_core::ports::auth::AuthError;
use entrepot_core::ports::blobs::BlobError;
use entrepot_core::ports::index::IndexError;
use entrepot_core::{Algorithm, Digest};

use super::*;

/// What a peer of a later version says.
fn newer<E: PortError>(kind: ErrorKind, fields: Params) -> E {
    from_detail(pb::ErrorDetail {
        reason: "invented_later".to_owned(),
        kind: pb::ErrorKind::from(kind).into(),
        params: fields,
        message: "news".to_owned(),
    })
}

#[test]
fn an_unknown_reason_goes_by_its_kind() {
    assert!(matches!(newer(ErrorKind::NotFound, Params::new()), BlobError::NotFound));
    assert!(matches!(newer(ErrorKind::Conflict, Params::new()), BlobError::Fenced));
    assert!(matches!(newer(ErrorKind::NoSpace, Params::new()), BlobError::NoSpace));
    assert!(matches!(newer(ErrorKind::Unavailable, Params::new()), BlobError::Unavailable(_)));
    assert!(matches!(newer(ErrorKind::Denied, Params::new()), BlobError::Internal(_)));
    let offset = params([("offset", "7".to_owned())]);
    assert!(matches!(newer(ErrorKind::OutOfRange, offset.clone()), BlobError::OffsetMismatch { offset: 7 }));
    assert!(matches!(newer(ErrorKind::OutOfRange, offset), IndexError::UploadOffset { offset: 7 }));
    assert!(matches!(newer(ErrorKind::OutOfRange, Params::new()), IndexError::Internal(_)));
    assert!(matches!(newer(ErrorKind::Conflict, Params::new()), IndexError::UploadBusy));
    let digest = Digest::of(Algorithm::Sha256, b"");
    let blob = params([("blob", digest.to_string()), ("repository", "a".to_owned())]);
    assert!(matches!(newer(ErrorKind::NotFound, blob), IndexError::BlobUnknown(found) if found == digest));
    assert!(matches!(newer(ErrorKind::NotFound, Params::new()), IndexError::Internal(_)));
    assert!(matches!(newer(ErrorKind::Unauthenticated, Params::new()), AuthError::InvalidCredentials));
    assert!(matches!(newer(ErrorKind::TooManyRequests, Params::new()), AuthError::TooManyAttempts { .. }));
}

#[test]
fn a_known_reason_without_its_fields_goes_by_its_kind_too() {
    for (reason, kind) in [("offset_mismatch", ErrorKind::OutOfRange), ("digest_mismatch", ErrorKind::Invalid)] {
        let detail = pb::ErrorDetail {
            reason: reason.to_owned(),
            kind: pb::ErrorKind::from(kind).into(),
            ..pb::ErrorDetail::default()
        };
        assert!(matches!(from_detail(detail), BlobError::Internal(_)), "{reason}");
    }
}

#[test]
fn every_kind_has_its_own_number_on_the_wire() {
    for kind in ErrorKind::ALL {
        assert_eq!(ErrorKind::ALL.iter().filter(|other| pb::ErrorKind::from(**other) == kind.into()).count(), 1);
        assert_ne!(pb::ErrorKind::from(kind), pb::ErrorKind::Unspecified);
    }
}

#[test]
fn a_status_without_detail_is_an_outage_unless_it_refuses() {
    for code in (1..=16).map(Code::from_i32) {
        let error: BlobError = from_status(&Status::new(code, "by a proxy"));
        let refusal = matches!(
            code,
            Code::InvalidArgument
                | Code::OutOfRange
                | Code::PermissionDenied
                | Code::Unauthenticated
                | Code::Unimplemented
                | Code::ResourceExhausted
        );
        assert_eq!(matches!(error, BlobError::Internal(_)), refusal, "{code:?}");
        assert_eq!(matches!(error, BlobError::Unavailable(_)), !refusal, "{code:?}");
    }
}

#[test]
fn no_error_outgrows_a_trailer() {
    let long = "ü".repeat(100_000);
    let digests = (0..10_000u32).map(|number| Digest::of(Algorithm::Sha512, &number.to_be_bytes())).collect();
    let statuses = [
        to_status(&IndexError::ReferencesMissing(digests)),
        to_status(&IndexError::Internal(long.clone().into())),
        to_status(&AuthError::InvalidRequest(long)),
    ];
    for status in statuses {
        let trailer = status.metadata().get_bin(TRAILER).unwrap();
        assert!(trailer.as_encoded_bytes().len() < 12 << 10, "{}", trailer.as_encoded_bytes().len());
    }
}

#[test]
fn the_status_tells_a_generic_client_the_code_and_no_cause() {
    let status = to_status(&BlobError::Internal("disk on fire".into()));
    assert_eq!((status.code(), status.message()), (Code::Internal, "internal"));
    assert_eq!(to_status(&BlobError::NotFound).code(), Code::NotFound);
}
