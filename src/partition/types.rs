//! The types of partitions that have a name here, and those whose every byte counts.

use super::{Guid, PartitionType};

/// In words, if it is a common one.
pub(super) fn name(kind: PartitionType) -> Option<&'static str> {
    match kind {
        PartitionType::Guid(guid) if is_verity(guid) => Some("dm-verity"),
        PartitionType::Guid(guid) => GUIDS.iter().find(|(known, _)| *known == guid.0).map(|(_, name)| *name),
        PartitionType::Id(id) => IDS.iter().find(|(known, _)| *known == id).map(|(_, name)| *name),
    }
}

/// Whether it is one of the hashes or signatures of dm-verity, for a root or /usr file system of any architecture
/// (Discoverable Partitions Specification).
pub(super) fn is_verity(guid: Guid) -> bool {
    VERITY.contains(&guid.0)
}

/// The types of a GPT, as sfdisk(8) lists them (`sfdisk --label gpt --list-types`).
const GUIDS: [(u128, &str); 14] = [
    (0xc12a7328_f81f_11d2_ba4b_00a0c93ec93b, "EFI system"),
    (0x21686148_6449_6e6f_744e_656564454649, "BIOS boot"),
    (0xbc13c2ff_59e6_4262_a352_b275fd6f7172, "Linux extended boot"),
    (0x0fc63daf_8483_4772_8e79_3d69d8477de4, "Linux file system"),
    (0x0657fd6d_a4ab_43c4_84e5_0933c84b4f4f, "Linux swap"),
    (0xe6d6d379_f507_44c2_a23c_238f2a3df928, "Linux LVM"),
    (0xa19d880f_05fc_4d3b_a006_743f0f84911e, "Linux RAID"),
    (0x933ac7e1_2eb4_4f13_b844_0e14e2aef915, "Linux home"),
    (0x4d21b016_b534_45c2_a9fb_5c16e091fd2d, "Linux var"),
    (0x4f68bce3_e8cd_4db1_96e7_fbcaf984b709, "Linux root (x86-64)"),
    (0xb921b045_1df0_41c3_af44_4c6f280d3fae, "Linux root (ARM-64)"),
    (0x69dad710_2ce4_4e3c_b16c_21a1d49abed3, "Linux root (ARM)"),
    (0x72ec70a6_cf74_40e6_bd49_4bda08e8f224, "Linux root (RISC-V-64)"),
    (0xebd0a0a2_b9e5_4433_87c0_68b6b72699c7, "Microsoft basic data"),
];

/// The types of an MBR.
const IDS: [(u8, &str); 14] = [
    (0x01, "FAT12"),
    (0x04, "FAT16"),
    (0x05, "extended"),
    (0x06, "FAT16"),
    (0x07, "NTFS or exFAT"),
    (0x0b, "FAT32"),
    (0x0c, "FAT32"),
    (0x0e, "FAT16"),
    (0x0f, "extended"),
    (0x82, "Linux swap"),
    (0x83, "Linux file system"),
    (0x85, "extended"),
    (0xee, "GPT"),
    (0xef, "EFI system"),
];

#[rustfmt::skip] // two columns
const VERITY: [u128; 84] = [
    0xd13c5d3b_b5d1_422a_b29f_9454fdc89d76, 0x2c7357ed_ebd2_46d9_aec1_23d437ec2bf5,
    0xfc56d9e9_e6e5_4c06_be32_e74407ce09a5, 0x24b2d975_0f97_4521_afa1_cd531e421b8d,
    0x7386cdf2_203c_47a9_a498_f2ecce45a2d6, 0xdf3300ce_d69f_4c92_978c_9bfb0f38d820,
    0x86ed10d5_b607_45bb_8957_d350f23d0571, 0xf3393b22_e9af_4613_a948_9d3bfbd0c535,
    0xd7d150d2_2a04_4a33_8f12_16651205ff7b, 0x16b417f8_3e06_4f57_8dd2_9b5232f41aa6,
    0x98cfe649_1588_46dc_b2f0_add147424925, 0x9225a9a3_3c19_4d89_b4f6_eeff88f17631,
    0x906bd944_4589_4aae_a4e4_dd983917446a, 0xae0253be_1167_4007_ac68_43926c14c5de,
    0xb6ed5582_440b_4209_b8da_5ff7c419ea3d, 0x7ac63b47_b25c_463b_8df8_b4a94e6c90e1,
    0xb325bfbe_c7be_4ab8_8357_139e652d2f6b, 0x966061ec_28e4_4b2e_b4a5_1f0a825a1d84,
    0x8f461b0d_14ee_4e81_9aa9_049b6fb97abd, 0x77ff5f63_e7b6_4633_acf4_1565b864c0e6,
    0x8cce0d25_c0d0_4a44_bd87_46331bf1df67, 0xfca0598c_d880_4591_8c16_4eda05c7347c,
    0xc215d751_7bcd_4649_be90_6627490a4c05, 0x6e11a4e7_fbca_4ded_b9e9_e1a512bb664e,
    0x6a491e03_3be7_4545_8e38_83320e0ea880, 0xf46b2c26_59ae_48f0_9106_c50ed47f673d,
    0x46b98d8d_b55c_4e8f_aab3_37fca7f80752, 0x3c3d61fe_b5f3_414d_bb71_8739a694a4ef,
    0xdf765d00_270e_49e5_bc75_f47bb2118b09, 0xbdb528a5_a259_475f_a87d_da53fa736a07,
    0xee2b9983_21e8_4153_86d9_b6901a54d1ce, 0xcb1ee4e3_8cd0_4136_a0a4_aa61a32e8730,
    0x8f1056be_9b05_47c4_81d6_be53128e5b54, 0xb663c618_e7bc_4d6d_90aa_11b756bb1797,
    0x31741cc4_1a2a_4111_a581_e00b447d2d06, 0x2fb4bf56_07fa_42da_8132_6b139f2026ae,
    0x5996fc05_109c_48de_808b_23fa0830b676, 0x41092b05_9fc8_4523_994f_2def0408b176,
    0xd46495b7_a053_414f_80f7_700c99921ef8, 0x143a70ba_cbd3_4f06_919f_6c05683a78bc,
    0x42b0455f_eb11_491d_98d3_56145ba9d037, 0x6db69de6_29f4_4758_a7a5_962190f00ce3,
    0xe98b36ee_32ba_4882_9b12_0ce14655f46a, 0x5afb67eb_ecc8_4f85_ae8e_ac1e7c50e7d0,
    0xc919cc1f_4456_4eff_918c_f75e94525ca5, 0x904e58ef_5c65_4a31_9c57_6af5fc7c5de7,
    0x1b31b5aa_add9_463a_b2ed_bd467fc857e7, 0xf5e2c20c_45b2_4ffa_bce9_2a60737e1aaf,
    0xd4a236e7_e873_4c07_bf1d_bf6cf7f1c3c6, 0x3a112a75_8729_4380_b4cf_764d79934448,
    0xefe0f087_ea8d_4469_821a_4c2a96a8386a, 0x3482388e_4254_435a_a241_766a065f9960,
    0xc80187a5_73a3_491a_901a_017c3fa953e9, 0xb3671439_97b0_4a53_90f7_2d5a8f3ad47b,
    0x974a71c0_de41_43c3_be5d_5c5ccd1ad2c0, 0xe7bb33fb_06cf_4e81_8273_e543b413e2e2,
    0x5c6e1c76_076a_457a_a0fe_f3b4cd21ce6e, 0x94f9a9a1_9971_427a_a400_50cb297f0f35,
    0xd7ff812f_37d1_4902_a810_d76ba57b975a, 0xc23ce4ff_44bd_4b00_b2d4_b41b3419e02a,
    0x8de58bc2_2a43_460d_b14e_a76e4a17b47f, 0xb024f315_d330_444c_8461_44bbde524e99,
    0x3e23ca0b_a4bc_4b4e_8087_5ab6a26aa8a9, 0xf2c2c7ee_adcc_4351_b5c6_ee9816b66e16,
    0x7007891d_d371_4a80_86a4_5cb875b9302e, 0x0b888863_d7f8_4d9e_9766_239fce4d58af,
    0xc8bfbd1e_268e_4521_8bba_bf314c399557, 0xc3836a13_3137_45ba_b583_b16c50fe5eb4,
    0xd2f9000a_7a18_453f_b5cd_4d32f77a7b32, 0x17440e4f_a8d0_467f_a46e_3912ae6ef2c5,
    0x3f324816_667b_46ae_86ee_9b0c0c6c11b4, 0x4ede75e2_6ccc_4cc8_b9c7_70334b087510,
    0xd212a430_fbc5_49f9_a983_a7feef2b8d0e, 0x5843d618_ec37_48d7_9f12_cea8e08768b2,
    0x15de6170_65d3_431c_916e_b0dcd8393f25, 0x450dd7d1_3224_45ec_9cf2_a43a346d71ee,
    0x7a430799_f711_4c7e_8e5b_1d685bd48607, 0x579536f8_6a33_4055_a95a_df2d5e2c42a8,
    0xbba210a2_9c5d_45ee_9e87_ff2ccbd002d0, 0x43ce94d4_0f3d_4999_8250_b9deafd98e6e,
    0x6e5a1bc8_d223_49b7_bca8_37a5fcceb996, 0x81cf9d90_7458_4df4_8dcf_c8a3a404f09b,
    0x97ae158d_f216_497b_8057_f7f905770f54, 0x05816ce2_dd40_4ac6_a61d_37d32dc1ba7d,
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The specification has them for so many architectures; `tests/it/partitions.rs` compares them with those that
    /// sfdisk knows.
    #[test]
    fn each_architecture_has_hashes_and_signatures_of_root_and_usr() {
        const ARCHITECTURES: usize = 21;
        assert_eq!(VERITY.iter().collect::<BTreeSet<_>>().len(), ARCHITECTURES * 2 * 2);
    }
}
