//! Layouts hold together: what is written is read back, and no bytes make a reader panic.

use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn a_header_is_read_back(id: u16, command: u16, no_reply: bool, error: Option<u32>, reply: bool, body in prop::collection::vec(any::<u8>(), 0..64)) {
        let kind = if reply { Kind::Reply { error } } else { Kind::Request { no_reply } };
        let message = Header::message(id, command, kind, &body);
        let header = Header::read(message[..HEADER_SIZE].try_into().expect("a header")).expect("a type");
        prop_assert_eq!(header, Header { id, command, size: message.len() as u32, kind });
        prop_assert_eq!(&message[HEADER_SIZE..], &body[..]);
    }

    #[test]
    fn bodies_are_read_back(a: u32, b: u32, c: u32, d: u32, x: u64, y: u64, z: u64) {
        let mut bytes = Vec::new();
        let map = DmaMap { argsz: a, flags: b, offset: x, iova: y, size: z };
        map.write(&mut bytes);
        prop_assert_eq!(bytes.len(), DmaMap::SIZE as usize);
        prop_assert_eq!(DmaMap::read(&bytes), Some(map));

        bytes.clear();
        let info = RegionInfoBody { argsz: a, flags: b, index: c, cap_offset: d, size: x, offset: y };
        info.write(&mut bytes);
        prop_assert_eq!(bytes.len(), RegionInfoBody::SIZE as usize);
        prop_assert_eq!(RegionInfoBody::read(&bytes), Some((info, &[][..])));

        bytes.clear();
        let event = IoEvent { offset: x, size: y, fd_index: a, datamatch: (b % 2 == 0).then_some(z), port: c % 2 == 0 };
        event.write(&mut bytes);
        prop_assert_eq!(bytes.len(), IoEvent::SIZE as usize);
        prop_assert_eq!(IoEvent::take(&mut Fields::new(&bytes)), Some(Some(event)));
    }

    #[test]
    fn no_bytes_make_a_reader_panic(body in prop::collection::vec(any::<u8>(), 0..96)) {
        let _ = (DmaMap::read(&body), DmaUnmap::read(&body), DmaCopy::read(&body));
        let _ = (DeviceInfoBody::read(&body), RegionInfoBody::read(&body), IrqInfoBody::read(&body));
        let _ = (SetIrqsBody::read(&body), RegionAccess::read(&body), RegionFdsBody::read(&body));
        let _ = (FeatureBody::read(&body), MigrationData::take(&mut Fields::new(&body)));
        let _ = IoEvent::take(&mut Fields::new(&body));
        if let Some(writes) = MultiWrite::read_all(&body) {
            prop_assert_eq!(8 + writes.len() * MultiWrite::SIZE, body.len());
        }
    }
}
