//! The maps of a PSBT as bytes (BIP 174, "Specification"), for tests that write what no library would write.

/// A key with its type, and its value.
pub type Pair = (Vec<u8>, Vec<u8>);

/// The maps: the global one, those of the inputs, those of the outputs.
pub fn read(psbt: &[u8]) -> Vec<Vec<Pair>> {
    let mut rest = psbt.strip_prefix(b"psbt\xff").expect("the magic bytes");
    let (mut maps, mut map) = (vec![], vec![]);
    while !rest.is_empty() {
        let key = field(&mut rest);
        if key.is_empty() {
            maps.push(std::mem::take(&mut map));
        } else {
            map.push((key, field(&mut rest)));
        }
    }
    maps
}

/// The PSBT that has these maps.
pub fn write(maps: &[Vec<Pair>]) -> Vec<u8> {
    let mut psbt = b"psbt\xff".to_vec();
    for map in maps {
        for (key, value) in map {
            push(&mut psbt, key);
            push(&mut psbt, value);
        }
        psbt.push(0);
    }
    psbt
}

/// The same PSBT in version 2 (BIP 370).
pub fn to_version_2(psbt: &bitcoin::Psbt) -> Vec<u8> {
    let mut maps = read(&psbt.serialize());
    let transaction = &psbt.unsigned_tx;
    let (inputs, outputs) = (transaction.input.len(), transaction.output.len());
    let count = |count: usize| bitcoin::consensus::serialize(&bitcoin::VarInt(count as u64));
    maps[0].retain(|(key, _)| key[..] != [0x00]);
    maps[0].extend([
        (vec![0x02], transaction.version.0.to_le_bytes().to_vec()),
        (vec![0x03], transaction.lock_time.to_consensus_u32().to_le_bytes().to_vec()),
        (vec![0x04], count(inputs)),
        (vec![0x05], count(outputs)),
        (vec![0x06], vec![0b11]),
        (vec![0xfb], vec![2, 0, 0, 0]),
    ]);
    for (map, input) in maps[1..].iter_mut().zip(&transaction.input) {
        map.extend([
            (vec![0x0e], bitcoin::consensus::serialize(&input.previous_output.txid)),
            (vec![0x0f], input.previous_output.vout.to_le_bytes().to_vec()),
            (vec![0x10], input.sequence.0.to_le_bytes().to_vec()),
        ]);
    }
    for (map, output) in maps[1 + inputs..].iter_mut().zip(&transaction.output) {
        map.extend([
            (vec![0x03], output.value.to_sat().to_le_bytes().to_vec()),
            (vec![0x04], output.script_pubkey.to_bytes()),
        ]);
    }
    write(&maps)
}

fn field(rest: &mut &[u8]) -> Vec<u8> {
    let (len, prefix) = match rest[0] {
        0xfd => (usize::from(u16::from_le_bytes([rest[1], rest[2]])), 3),
        0xfe => (u32::from_le_bytes([rest[1], rest[2], rest[3], rest[4]]) as usize, 5),
        short => (usize::from(short), 1),
    };
    let (field, tail) = rest[prefix..].split_at(len);
    *rest = tail;
    field.to_vec()
}

fn push(psbt: &mut Vec<u8>, field: &[u8]) {
    psbt.extend(bitcoin::consensus::serialize(&bitcoin::VarInt(field.len() as u64)));
    psbt.extend(field);
}
