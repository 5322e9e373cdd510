use super::*;

/// A service connects to its database at any time, also while a test takes that away.
#[test]
fn a_connection_made_while_it_begins_to_refuse_is_closed() {
    let target = TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = Proxy::start(target.local_addr().unwrap());
    let echo = std::thread::spawn(move || {
        for stream in target.incoming().take(200).map_while(Result::ok) {
            std::thread::spawn(move || std::io::copy(&mut &stream, &mut &stream));
        }
    });
    while !echo.is_finished() {
        proxy.set(Mode::Pass);
        let mut stream = TcpStream::connect(proxy.address()).unwrap();
        proxy.set(Mode::Refuse);
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let answer = stream.write_all(b"x").and_then(|()| stream.read(&mut [0; 2]));
        if let Err(error) = answer {
            assert_ne!(error.kind(), ErrorKind::WouldBlock, "neither an answer nor an end");
        }
        assert!(stream.write_all(b"x").is_err() || matches!(stream.read(&mut [0; 2]), Ok(0) | Err(_)), "it is open");
    }
    echo.join().unwrap();
}
