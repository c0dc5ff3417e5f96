//! Ports of 127.0.0.1 for the processes of a testnet.

use crate::error::TestnetError;
use crate::record::Role;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, UdpSocket};

/// A port for each role: from `first` on where it is given, otherwise free ones that the system
/// names. Whether a given one is free is seen by listening on it for a moment.
pub(crate) fn choose(roles: &[Role], first: Option<u16>) -> Result<Vec<u16>, TestnetError> {
    // All are held until all are chosen, so that the system does not name one twice.
    let mut held = Vec::new();
    for (index, role) in roles.iter().enumerate() {
        let wanted = match first {
            None => 0,
            Some(first) => u16::try_from(index)
                .ok()
                .and_then(|index| first.checked_add(index))
                .ok_or(TestnetError::NoPorts {
                    first,
                    count: roles.len(),
                })?,
        };
        held.push(hold(*role, wanted).map_err(|_| TestnetError::PortInUse { port: wanted })?);
    }
    Ok(held.into_iter().map(|(port, _)| port).collect())
}

/// Whether a process of that role could listen there now.
pub(crate) fn is_free(role: Role, port: u16) -> bool {
    hold(role, port).is_ok()
}

enum Socket {
    Tcp { _listener: TcpListener },
    Udp { _socket: UdpSocket },
}

fn hold(role: Role, port: u16) -> std::io::Result<(u16, Socket)> {
    let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
    match role {
        Role::Market => {
            let listener = TcpListener::bind(address)?;
            let port = listener.local_addr()?.port();
            Ok((
                port,
                Socket::Tcp {
                    _listener: listener,
                },
            ))
        }
        Role::Node => {
            let socket = UdpSocket::bind(address)?;
            let port = socket.local_addr()?.port();
            Ok((port, Socket::Udp { _socket: socket }))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_port_in_use_is_named() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        assert!(!is_free(Role::Node, port));
        assert!(matches!(
            choose(&[Role::Node], Some(port)),
            Err(TestnetError::PortInUse { port: named }) if named == port
        ));
        assert!(matches!(
            choose(&[Role::Node, Role::Node], Some(u16::MAX)),
            Err(TestnetError::NoPorts { .. } | TestnetError::PortInUse { .. })
        ));
    }

    #[test]
    fn free_ports_are_all_different() {
        let mut ports = choose(&[Role::Market, Role::Node, Role::Node, Role::Node], None).unwrap();
        assert_eq!(ports.len(), 4);
        // A TCP and a UDP port may have one number; the nodes' never.
        ports.remove(0);
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 3);
    }
}
