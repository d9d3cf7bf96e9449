//! Packs the addresses that the loader must correct when the program starts (`DT_RELR`, in glibc since 2.36, in the
//! linkers since binutils 2.38 and LLVM 15). Written out one by one they are 8 MB of the file, read on each start and counted as
//! memory from then on; packed they are less than 100 kB.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let target = |name: &str| std::env::var(format!("CARGO_CFG_TARGET_{name}")).unwrap_or_default();
    if target("OS") == "linux" && target("ENV") == "gnu" {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}
