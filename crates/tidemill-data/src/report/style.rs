//! How the page looks.

pub(super) const CSS: &str = "
:root{color-scheme:light dark;--bg:#fff;--fg:#1a1d21;--faint:#68707a;--line:#e3e6ea;--tile:#f6f7f9;--ref:#9aa5b1;
--cur:#0b6bcb;--major:#b42318;--minor:#9a6700;--none:#4b5563}
@media (prefers-color-scheme:dark){:root{--bg:#14171b;--fg:#e6e9ed;--faint:#98a2ae;--line:#2b3138;--tile:#1d2127;
--ref:#66717e;--cur:#5aa9f5;--major:#f97066;--minor:#e3b341;--none:#98a2ae}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--fg);font:14px/1.45 system-ui,sans-serif}
main{max-width:1280px;margin:0 auto;padding:24px}
h1{font-size:22px;margin:0 0 8px}h2{font-size:16px;margin:28px 0 8px}
.verdict{margin:0 0 6px;font-size:15px}.key,.faint,footer{color:var(--faint)}.key{margin:0}
footer{margin-top:32px;font-size:12px}
.swatch{display:inline-block;width:10px;height:10px;border-radius:2px;margin:0 4px 0 10px}
.key .swatch:first-child{margin-left:0}.swatch.ref{background:var(--ref)}.swatch.cur{background:var(--cur)}
.tiles{display:flex;flex-wrap:wrap;gap:12px;margin-top:16px}
.tile{background:var(--tile);border-radius:8px;padding:10px 16px;min-width:120px}
.tile b{display:block;font-size:20px}.tile i{display:block;color:var(--faint);font-style:normal;font-size:12px}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%}
th{text-align:left;font-weight:600;color:var(--faint);font-size:12px;position:sticky;top:0;background:var(--bg)}
th,td{padding:8px 12px 8px 0;border-bottom:1px solid var(--line);vertical-align:top}
.n{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}
.figures{min-width:220px}.pair{white-space:nowrap;margin-right:10px;display:inline-block}
.pair i{color:var(--faint);font-style:normal}
.reason{min-width:240px}
.badge{display:inline-block;border:1px solid currentColor;border-radius:10px;padding:0 8px;font-size:12px}
.badge.major{color:var(--major)}.badge.minor{color:var(--minor)}.badge.none{color:var(--none)}
svg{display:block}svg text{fill:var(--faint);font:11px system-ui,sans-serif}svg .label{fill:var(--fg)}
svg .ref{fill:var(--ref)}svg .cur{fill:var(--cur)}svg .both{fill-opacity:.75}svg .axis{stroke:var(--line)}
@media print{main{max-width:none}th{position:static}}
";
