package audit

import (
	"encoding/hex"
	"fmt"
	"time"

	"liuhen/transparency/heads"
)

// A Kind is what sort of change a fault looks like.
type Kind string

// The kinds of faults.
const (
	Missing    Kind = "missing"    // positions without a record
	Lost       Kind = "lost"       // the record ends before what was signed
	Changed    Kind = "changed"    // other bytes than the log has
	Moved      Kind = "moved"      // a record that the log has at another position
	Restored   Kind = "restored"   // the same bytes, stored at another time
	Foreign    Kind = "foreign"    // not a record of liuhen, or under another subject
	Dated      Kind = "dated"      // recordedtime does not fit the store's time
	Clock      Kind = "clock"      // the store's time goes back
	Chain      Kind = "chain"      // the records of a case do not follow each other
	Hidden     Kind = "hidden"     // a case has more records in the log than there are
	Heads      Kind = "heads"      // the log states other heads of cases than the records have
	Root       Kind = "root"       // a signed root is not that of the records
	TwoTruths  Kind = "two-truths" // two checkpoints contradict each other
	Signature  Kind = "signature"  // a checkpoint without a good signature of the log
	Remembered Kind = "remembered" // a checkpoint that is remembered and not in the history
	HistoryGap Kind = "history"    // the history of checkpoints is not whole
	Tile       Kind = "tile"       // a file of the log is altered or missing
	Unsealed   Kind = "not-sealed" // asked for, and not under a checkpoint yet
	NotThere   Kind = "not-there"  // asked for, and not there
	Other      Kind = "other"      // found by another look at the system
)

// A Fault is one thing that is wrong. Position is 0 where it is about no record;
// Through is the last position where it is about several.
type Fault struct {
	Kind     Kind   `json:"kind"`
	Position uint64 `json:"position,omitempty"`
	Through  uint64 `json:"through,omitempty"`
	Case     string `json:"case,omitempty"`
	ZH       string `json:"zh"`
	EN       string `json:"en"`

	mine, theirs heads.Hash // what is there, and what the log knows; to find what was moved
}

// In returns the explanation in a language ("zh" or "en").
func (f *Fault) In(lang string) string {
	if lang == "en" {
		return f.EN
	}
	return f.ZH
}

func short(h heads.Hash) string { return hex.EncodeToString(h[:6]) }

func clock(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

func foundMissing(from, through uint64) *Fault {
	return &Fault{
		Kind: Missing, Position: from, Through: through,
		ZH: fmt.Sprintf("位置 %d 至 %d 没有可读的记录：记录被删除或清除，或存储文件损坏", from, through),
		EN: fmt.Sprintf("no record can be read at positions %d to %d: records were removed or evicted, or a file of the store is damaged", from, through),
	}
}

func foundLost(end uint64, signed int64) *Fault {
	return &Fault{
		Kind: Lost, Position: end + 1, Through: uint64(signed),
		ZH: fmt.Sprintf("日志曾在 %d 条记录时签名，现有记录止于位置 %d：尾部被截去，或恢复了较旧的备份", signed, end),
		EN: fmt.Sprintf("the log was signed at %d records, the record ends at position %d: its end was cut off, or an older backup was put back", signed, end),
	}
}

func foundChanged(at uint64, name string, mine, theirs heads.Hash) *Fault {
	return &Fault{
		Kind: Changed, Position: at, Case: name, mine: mine, theirs: theirs,
		ZH: fmt.Sprintf("位置 %d 的记录与签名时不同：SHA-256 现为 %s…，日志为 %s…：记录被改动或替换", at, short(mine), short(theirs)),
		EN: fmt.Sprintf("the record at position %d is not the one that was signed: its SHA-256 is %s…, the log has %s…: it was changed or replaced", at, short(mine), short(theirs)),
	}
}

// moved makes of a changed record one that stands at another position in the log.
func (f *Fault) moved(to uint64) {
	f.Kind = Moved
	f.ZH = fmt.Sprintf("位置 %d 现在是日志中位置 %d 的记录：记录被调换了次序", f.Position, to)
	f.EN = fmt.Sprintf("at position %d stands the record that the log has at position %d: records were put in another order", f.Position, to)
}

func foundRestored(at uint64, name string, now, then time.Time) *Fault {
	return &Fault{
		Kind: Restored, Position: at, Case: name,
		ZH: fmt.Sprintf("位置 %d 的存储时间为 %s，日志为 %s：流被重建，或存储时间被改动", at, clock(now), clock(then)),
		EN: fmt.Sprintf("the record at position %d was stored at %s, the log has %s: the stream was made anew, or the time was changed", at, clock(now), clock(then)),
	}
}

func foundForeign(at uint64, name string, why error) *Fault {
	return &Fault{
		Kind: Foreign, Position: at, Case: name,
		ZH: fmt.Sprintf("位置 %d 的内容不是本系统的记录：由其他程序写入（%v）", at, why),
		EN: fmt.Sprintf("what stands at position %d is no record of this system: something else wrote it (%v)", at, why),
	}
}

func foundElsewhere(at uint64, name string) *Fault {
	return &Fault{
		Kind: Foreign, Position: at, Case: name,
		ZH: fmt.Sprintf("位置 %d 的记录存于其他机关、程序或案件的主题下：不是由本系统写入", at),
		EN: fmt.Sprintf("the record at position %d is kept under the subject of another agency, procedure or case: it was not written by this system", at),
	}
}

func foundDated(at uint64, name string, recorded, stored time.Time) *Fault {
	return &Fault{
		Kind: Dated, Position: at, Case: name,
		ZH: fmt.Sprintf("位置 %d 自称记录于 %s，存储时间为 %s，相差 %s：记录时间被倒签或伪造", at, clock(recorded), clock(stored), stored.Sub(recorded).Abs().Round(time.Second)),
		EN: fmt.Sprintf("the record at position %d says that it was made at %s and was stored at %s, %s apart: its time was back-dated or forged", at, clock(recorded), clock(stored), stored.Sub(recorded).Abs().Round(time.Second)),
	}
}

func foundClock(at uint64, name string, now, before time.Time) *Fault {
	return &Fault{
		Kind: Clock, Position: at, Case: name,
		ZH: fmt.Sprintf("位置 %d 的存储时间 %s 早于其前的 %s：存储服务器的时钟被拨回，或记录被调换", at, clock(now), clock(before)),
		EN: fmt.Sprintf("position %d was stored at %s, one before it at %s: the store's clock was set back, or records were put in another order", at, clock(now), clock(before)),
	}
}

func foundChain(at uint64, name string, revision int, before heads.Head) *Fault {
	if uint64(revision) != before.Count+1 {
		return &Fault{
			Kind: Chain, Position: at, Case: name,
			ZH: fmt.Sprintf("位置 %d 的案内序号为 %d，其前一条为 %d：该案有记录被隐去，或有记录被插入", at, revision, before.Count),
			EN: fmt.Sprintf("the record at position %d is number %d of its case, the one before it is number %d: a record of the case was hidden, or one was slipped in", at, revision, before.Count),
		}
	}
	return &Fault{
		Kind: Chain, Position: at, Case: name,
		ZH: fmt.Sprintf("位置 %d 的 previousdigest 与该案前一条记录（%s…）不符：前一条被替换，或本条系伪造", at, short(before.Digest)),
		EN: fmt.Sprintf("the previousdigest at position %d is not that of the case's record before it (%s…): that one was replaced, or this one is forged", at, short(before.Digest)),
	}
}

func foundHidden(name string, there, count uint64) *Fault {
	return &Fault{
		Kind: Hidden, Case: name,
		ZH: fmt.Sprintf("日志证明该案有 %d 条记录，现有 %d 条：有记录被隐去", count, there),
		EN: fmt.Sprintf("the log proves %d records of the case, there are %d: records are hidden", count, there),
	}
}

func foundHeadDiffers(name string) *Fault {
	return &Fault{
		Kind: Hidden, Case: name,
		ZH: "日志证明的该案最后一条记录与现有的不同：最后一条被替换",
		EN: "the last record of the case is not the one that the log proves: it was replaced",
	}
}

func foundHeads(at uint64, name string) *Fault {
	return &Fault{
		Kind: Heads, Position: at, Case: name,
		ZH: fmt.Sprintf("日志在位置 %d 声明的各案末尾与记录不符：签名者声明了虚假的案件末尾，或此前有记录被改动", at),
		EN: fmt.Sprintf("the heads of cases that the log states at position %d are not those of the records: whoever signed stated false heads, or a record before it was changed", at),
	}
}

func foundRoot(from, size int64, entry uint64) *Fault {
	return &Fault{
		Kind: Root, Position: uint64(from), Through: uint64(size),
		ZH: fmt.Sprintf("历史第 %d 项签名的根（%d 条记录）与记录不符：位置 %d 至 %d 之间有记录被改动、删除或调换", entry, size, from, size),
		EN: fmt.Sprintf("the root that entry %d of the history signed (%d records) is not that of the records: between positions %d and %d some were changed, removed or put in another order", entry, size, from, size),
	}
}

func foundTwoTruths(size int64, first, second string) *Fault {
	return &Fault{
		Kind: TwoTruths, Through: uint64(size),
		ZH: fmt.Sprintf("%s 与 %s 是同一大小（%d）的两个检查点，根不同：日志对不同的人说了不同的话", first, second, size),
		EN: fmt.Sprintf("%s and %s are two checkpoints of one size (%d) with different roots: the log has told two people two things", first, second, size),
	}
}

func foundFalling(entry uint64, size, before int64) *Fault {
	return &Fault{
		Kind: TwoTruths, Through: uint64(size),
		ZH: fmt.Sprintf("历史第 %d 项的检查点有 %d 条记录，其前一个有 %d 条：日志变短了", entry, size, before),
		EN: fmt.Sprintf("the checkpoint in entry %d of the history has %d records, the one before it %d: the log has become shorter", entry, size, before),
	}
}

func foundSignature(where string, why error) *Fault {
	return &Fault{
		Kind: Signature,
		ZH:   fmt.Sprintf("%s 不是本日志的密钥签名的检查点：由他人的密钥签名，或内容被改动（%v）", where, why),
		EN:   fmt.Sprintf("%s is no checkpoint signed with a key of this log: another key signed it, or it was changed (%v)", where, why),
	}
}

func foundRemembered(where string, remembered, signed int64) *Fault {
	return &Fault{
		Kind: Remembered, Position: uint64(signed) + 1, Through: uint64(remembered),
		ZH: fmt.Sprintf("%s 记得一个 %d 条记录的检查点，日志的历史止于 %d：历史被恢复为较旧的备份，记录可能也是", where, remembered, signed),
		EN: fmt.Sprintf("%s remembers a checkpoint of %d records, the history of the log ends with one of %d: the history was put back to an older copy, and the record perhaps with it", where, remembered, signed),
	}
}

func foundHistory(why error) *Fault {
	return &Fault{
		Kind: HistoryGap,
		ZH:   fmt.Sprintf("检查点的历史不完整：有条目被删除，或历史被重建（%v）", why),
		EN:   fmt.Sprintf("the history of checkpoints is not whole: entries were removed, or it was made anew (%v)", why),
	}
}

func foundTile(path string, from, through uint64, why string) *Fault {
	zh := "与记录和签名的根不符：该文件被改动"
	if why == tileGone {
		zh = "缺失或无法读取"
	}
	return &Fault{
		Kind: Tile, Position: from, Through: through,
		ZH: fmt.Sprintf("日志文件 %s %s；记录本身不受影响，删除该目录后会由记录重建", path, zh),
		EN: fmt.Sprintf("the file %s of the log %s; the record itself is not touched by that: remove the folder, and it is made anew from the record", path, why),
	}
}

const (
	tileGone    = "is missing or cannot be read"
	tileAltered = "fits neither the record nor the signed root: it was altered"
)

func foundUnsealed(from, through uint64, size int64) *Fault {
	return &Fault{
		Kind: Unsealed, Position: from, Through: through,
		ZH: fmt.Sprintf("位置 %d 至 %d 尚未在签名的检查点之下（最新为 %d 条记录）；稍后再核验", from, through, size),
		EN: fmt.Sprintf("positions %d to %d are not under a signed checkpoint yet (the newest has %d records); verify again in a moment", from, through, size),
	}
}

func foundNotThere(what, whatEN string, position uint64, name string) *Fault {
	return &Fault{Kind: NotThere, Position: position, Case: name, ZH: what, EN: whatEN}
}
