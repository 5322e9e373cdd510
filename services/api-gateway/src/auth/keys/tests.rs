use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use async_trait::async_trait;
use entrepot_core::Principal;
use entrepot_core::ports::auth::{Authorized, IssuedToken, RightsChanges, TokenRequest};
use entrepot_token::{Signer, SigningKey};

use super::*;

/// Takes as long as a call to a peer whose packets are dropped.
const HANG: Duration = Duration::from_secs(10);

/// An auth-token that hangs until it is back.
struct Hanging {
    signer: Signer,
    keys: String,
    back: AtomicBool,
    calls: AtomicU32,
}

#[async_trait]
impl TokenService for Hanging {
    async fn issue(&self, _: TokenRequest) -> Result<IssuedToken, AuthError> {
        panic!("a gateway issues no tokens")
    }

    async fn authorize(&self, _: TokenRequest) -> Result<Authorized, AuthError> {
        panic!("tokens are verified here")
    }

    async fn changes(&self, _: u64) -> Result<RightsChanges, AuthError> {
        panic!("keys are what is asked for")
    }

    async fn key_set(&self) -> Result<String, AuthError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        if self.back.load(Ordering::SeqCst) {
            return Ok(self.keys.clone());
        }
        tokio::time::sleep(HANG).await;
        Err(AuthError::Unavailable("deadline".into()))
    }
}

#[tokio::test(start_paused = true)]
async fn requests_do_not_queue_for_keys_that_do_not_come() {
    let key = SigningKey::generate().unwrap();
    let keys = KeySet::new([key.public()]).to_json();
    let signer = Signer::new(key, "registry");
    let peer = Arc::new(Hanging { signer, keys, back: AtomicBool::new(false), calls: AtomicU32::new(0) });
    let token = peer.signer.sign(&Principal::Anonymous, &[], &[], 0, 1000, 300).unwrap();
    let keys = Keys::new("registry", Arc::clone(&peer) as _);
    let started = Instant::now();
    let all = futures_util::future::join_all((0..20).map(|_| keys.verify(&token, 1000))).await;
    assert!(all.iter().all(Result::is_err));
    assert_eq!((peer.calls.load(Ordering::SeqCst), started.elapsed().as_secs()), (1, HANG.as_secs()));

    peer.back.store(true, Ordering::SeqCst);
    assert!(keys.verify(&token, 1000).await.is_err(), "not asked again at once");
    tokio::time::advance(REFRESH).await;
    keys.verify(&token, 1000).await.unwrap().unwrap();
    assert_eq!(peer.calls.load(Ordering::SeqCst), 2);
}
