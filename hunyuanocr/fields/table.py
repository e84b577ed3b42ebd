"""The heads of a table of line items: which words stand above which column, and where."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hunyuanocr.fields.catalogue import compact
from hunyuanocr.fields.layout import Cell, Layout

# Words above columns. An empty name is a column that is known and not asked for.
_HEADS = {
    "name": "品名 商品 商品名称 名称 商品名 项目 项目名称 检验项目 检查项目 药品名称 药品 药名 菜品 菜名 货品 货物名称 货物或应税劳务服务名称 货物或应税劳务名称"
            " 品名规格 费用项目 服务项目 品项 品名条码 商品编码名称 内容 摘要 item items description desc particulars product products productname itemname"
            " details goods drug medication medicine medicinename drugname test testname analyte codedesc itemdescription service itemdesc",
    "quantity": "数量 数 件数 份数 qty quantity qnty qtyuom units count 数量单位 pcs qnt",
    "unit_price": "单价 价格 售价 原价 单价元 price unitprice uprice up rate sprice unitcost priceeach each uprm unitpricerm unitamt 单价rmb",
    "amount": "金额 小计 总价 合计 合价 价税合计 amount amt total linetotal totalprice subtotal amountrm amtrm totalrm 金额元 小计元 extprice netamt amtexcgst"
              " incgst amtincgst value nett",
    "specification": "规格 规格型号 型号 包装规格 spec specification strength size pack 药品规格",
    "unit": "单位 uom unit",
    "usage": "用法 用量 用法用量 服法 dosage directions usage dose instructions frequency sig 单次剂量 频次",
    "result": "结果 检验结果 测定结果 检测结果 result results value 测定值",
    "reference": "参考范围 参考值 参考区间 正常值 生物参考区间 reference referencerange refrange range normalrange",
    "": "编码 条码 序号 代码 no code sn 货号 税率 税额 tax taxcode gst disc discount 折扣 优惠 折后价 rm 元 提示 flag 备注 remark sku barcode ref 税 disc% 箭头 标志 状态"
        " 方法 折扣价 会员价 @ gstcode taxrm discrm 批号 效期 天数 用药天数 付数 类别 医保",
}  # fmt: skip
_COLUMN_OF = {compact(word): column for column, words in _HEADS.items() for word in words.split() if compact(word)}
_LONGEST = max(map(len, _COLUMN_OF))
_KEY_COLUMNS = {"name", "quantity", "unit_price", "result"}


def column_named(words: str) -> str | None:
    """The column of line items that a client's word means ("qty" → quantity), or None."""
    return _COLUMN_OF.get(compact(words)) or None


@dataclass(frozen=True)
class Table:
    """The head of an item table: its cells, its columns from left to right with their ends, and the row it ends in."""

    header: tuple[Cell, ...]
    columns: tuple[tuple[str, float, float], ...]
    last_row: int


def _words(cell: Cell) -> Iterator[tuple[str, int, int]]:
    """The column words that make up a cell, longest first, each with its place; a letter that fits none spoils it all."""
    letters = [i for i, c in enumerate(cell.text) if c.isalnum()]
    key = compact(cell.text)
    if len(key) != len(letters):
        return
    position = 0
    while position < len(key):
        for length in range(min(_LONGEST, len(key) - position), 0, -1):
            if (column := _COLUMN_OF.get(key[position:position + length])) is not None:
                yield column, letters[position], letters[position + length - 1] + 1
                position += length
                break
        else:
            yield "?", letters[position], letters[position] + 1
            position += 1


def _head(layout: Layout, row: Sequence[Cell]) -> list[tuple[str, float, float]] | None:
    """The columns of a row if nearly all that stands in it are column words."""
    columns: list[tuple[str, float, float]] = []
    known = letters = 0
    for cell in row:
        if any(c.isdigit() for c in cell.text) or cell.text.rstrip().endswith((":", "：")):
            return None
        words = list(_words(cell))
        letters += sum(end - start for _, start, end in words)
        if len(words) == 1 or all(column != "?" for column, _, _ in words):
            for column, start, end in words:
                if column != "?":
                    part = layout.cell(cell.line, cell.start + start, cell.start + end)
                    columns.append((column, part.x0, part.x1))
                    known += end - start
    return columns if letters and known >= 0.6 * letters else None


def find_table(layout: Layout) -> Table | None:
    """The head of the item table, perhaps of two rows, or None. A summary of taxes has no name, quantity or price."""
    for number, row in enumerate(layout.rows):
        columns = _head(layout, row)
        if columns is None or len({c for c, _, _ in columns if c}) < 2 or not _KEY_COLUMNS & {c for c, _, _ in columns}:
            continue
        header, last = list(row), number
        below = _head(layout, layout.rows[number + 1]) if number + 1 < len(layout.rows) else None
        taken = {c for c, _, _ in columns if c}
        if below and (len(layout.rows[number + 1]) > 1 or any(c and c not in taken for c, _, _ in below)):
            columns += [c for c in below if c[0] not in taken]
            header, last = header + list(layout.rows[number + 1]), number + 1
        return Table(tuple(header), tuple(sorted(columns, key=lambda c: c[1])), last)
    return None
