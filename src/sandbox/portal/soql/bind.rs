//! Binds a query to one table: names become columns, literals take the type of what they are
//! compared with, aliases are replaced, and what the real server would refuse is refused.

use super::super::cell::{Cell, ColumnType, parse_fixed, parse_floating};
use super::super::decimal::Decimal;
use super::super::store::{Schema, fold};
use super::SoqlError;
use super::parser::{Expr, Op, Query, Selected};

/// An expression that can be evaluated for a row or a group.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    Field(usize),
    Id,
    Version,
    Created,
    Updated,
    Const(Cell),
    Compare(Op, Box<Node>, Box<Node>),
    And(Box<Node>, Box<Node>),
    Or(Box<Node>, Box<Node>),
    Not(Box<Node>),
    In(Box<Node>, Vec<Cell>),
    Like(Box<Node>, Box<Node>),
    IsNull(Box<Node>),
    Negated(Box<Node>),
    Call(Function, Vec<Node>),
    Aggregate(usize),
}

/// A function of one row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Function {
    Lower,
    Upper,
    Substring,
    StartsWith,
    Contains,
    TruncDay,
    TruncMonth,
    TruncYear,
}

/// A function of many rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fold {
    Count,
    Min,
    Max,
    Sum,
    Avg,
}

/// One aggregate of the query. Without an argument it is `count(*)`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Aggregate {
    pub fold: Fold,
    pub distinct: bool,
    pub arg: Option<Node>,
}

/// One column of the answer.
#[derive(Debug, Clone)]
pub(super) struct Output {
    pub name: String,
    pub kind: ColumnType,
    pub node: Node,
}

/// A query bound to a table.
#[derive(Debug, Clone, Default)]
pub(in super::super) struct Bound {
    pub(super) outputs: Vec<Output>,
    pub(super) filter: Option<Node>,
    pub(super) group: Vec<Node>,
    pub(super) having: Option<Node>,
    pub(super) order: Vec<(Node, bool)>,
    pub(super) aggregates: Vec<Aggregate>,
    pub(super) limit: u64,
    pub(super) offset: u64,
}

impl Bound {
    pub(super) fn is_grouped(&self) -> bool {
        !self.group.is_empty() || !self.aggregates.is_empty()
    }
}

const DEFAULT_LIMIT: u64 = 1000;

type Typed = (Node, Option<ColumnType>);

struct Binder<'a> {
    schema: &'a Schema,
    aliases: Vec<(String, &'a Expr)>,
    resolving: Vec<String>,
    aggregates: Vec<Aggregate>,
}

/// Binds a query to a table.
pub(in super::super) fn bind(schema: &Schema, query: &Query) -> Result<Bound, SoqlError> {
    let mut binder = Binder {
        schema,
        aliases: aliases(query)?,
        resolving: Vec::new(),
        aggregates: Vec::new(),
    };
    let filter = binder.condition(query.filter.as_ref())?;
    if !binder.aggregates.is_empty() {
        return Err(SoqlError::AggregateOutside("where".to_owned()));
    }
    let group = query
        .group
        .iter()
        .map(|expr| binder.expr(expr).map(|typed| typed.0))
        .collect::<Result<Vec<_>, _>>()?;
    let outputs = binder.outputs(query)?;
    let having = binder.condition(query.having.as_ref())?;
    let order = binder.ordering(&query.order)?;
    let bound = Bound {
        outputs,
        filter,
        group,
        having,
        order,
        aggregates: binder.aggregates,
        limit: query.limit.unwrap_or(DEFAULT_LIMIT),
        offset: query.offset,
    };
    if bound.is_grouped() {
        check_groups(schema, &bound)?;
    }
    Ok(bound)
}

fn aliases(query: &Query) -> Result<Vec<(String, &Expr)>, SoqlError> {
    let mut found: Vec<(String, &Expr)> = Vec::new();
    for selected in &query.select {
        if let Selected::Expr {
            expr,
            alias: Some(alias),
        } = selected
        {
            let folded = fold(alias);
            if found.iter().any(|(name, _)| *name == folded) {
                return Err(SoqlError::DuplicateAlias(alias.clone()));
            }
            found.push((folded, expr));
        }
    }
    Ok(found)
}

fn check_groups(schema: &Schema, bound: &Bound) -> Result<(), SoqlError> {
    let nodes = bound.outputs.iter().map(|output| &output.node);
    let nodes = nodes
        .chain(&bound.having)
        .chain(bound.order.iter().map(|(node, _)| node));
    for node in nodes {
        if let Some(stray) = stray_column(node, &bound.group) {
            let name = match stray {
                Node::Field(at) => schema.columns[*at].field.clone(),
                _ => ":id".to_owned(),
            };
            return Err(SoqlError::NotInGroupBys(name));
        }
    }
    Ok(())
}

fn stray_column<'n>(node: &'n Node, groups: &[Node]) -> Option<&'n Node> {
    if groups.contains(node) {
        return None;
    }
    let either =
        |a: &'n Node, b: &'n Node| stray_column(a, groups).or_else(|| stray_column(b, groups));
    match node {
        Node::Field(_) | Node::Id | Node::Version | Node::Created | Node::Updated => Some(node),
        Node::Const(_) | Node::Aggregate(_) => None,
        Node::Compare(_, a, b) | Node::And(a, b) | Node::Or(a, b) | Node::Like(a, b) => {
            either(a, b)
        }
        Node::Not(a) | Node::In(a, _) | Node::IsNull(a) | Node::Negated(a) => {
            stray_column(a, groups)
        }
        Node::Call(_, args) => args.iter().find_map(|arg| stray_column(arg, groups)),
    }
}

impl<'a> Binder<'a> {
    fn condition(&mut self, expr: Option<&'a Expr>) -> Result<Option<Node>, SoqlError> {
        let Some(expr) = expr else { return Ok(None) };
        match self.expr(expr)? {
            (node, None | Some(ColumnType::Checkbox)) => Ok(Some(node)),
            (_, Some(other)) => Err(SoqlError::NonBooleanWhere(other.in_headers())),
        }
    }

    fn ordering(&mut self, order: &'a [(Expr, bool)]) -> Result<Vec<(Node, bool)>, SoqlError> {
        let mut bound = Vec::new();
        for (expr, descending) in order {
            match self.expr(expr)? {
                (Node::Const(_), _) => {}
                (node, kind) if kind.is_none_or(ColumnType::is_ordered) => {
                    bound.push((node, *descending));
                }
                (_, kind) => {
                    return Err(SoqlError::Unorderable(
                        kind.map_or("null", ColumnType::in_headers),
                    ));
                }
            }
        }
        Ok(bound)
    }

    fn outputs(&mut self, query: &'a Query) -> Result<Vec<Output>, SoqlError> {
        let mut outputs = Vec::new();
        if query.select.is_empty() {
            self.all_user(query, &mut outputs);
        }
        for selected in &query.select {
            match selected {
                Selected::AllUser => self.all_user(query, &mut outputs),
                Selected::AllSystem => outputs.extend(all_system()),
                Selected::Expr { expr, alias } => {
                    let (node, kind) = self.expr(expr)?;
                    let name = alias.clone().unwrap_or_else(|| self.implicit_name(expr));
                    outputs.push(Output {
                        name,
                        kind: kind.unwrap_or(ColumnType::Text),
                        node,
                    });
                }
            }
        }
        Ok(outputs)
    }

    fn all_user(&self, query: &Query, outputs: &mut Vec<Output>) {
        for (at, column) in self.schema.columns.iter().enumerate() {
            let (name, kind) = (column.field.clone(), column.kind);
            outputs.push(Output {
                name,
                kind,
                node: Node::Field(at),
            });
        }
        if self.schema.computed_region && query.order.is_empty() {
            outputs.push(Output {
                name: super::super::metadata::COMPUTED_REGION.to_owned(),
                kind: ColumnType::Number,
                node: Node::Const(Cell::number(Decimal::whole(1))),
            });
        }
    }

    fn implicit_name(&self, expr: &Expr) -> String {
        match expr {
            Expr::Name(name) => match self.schema.position(name) {
                Some(at) => self.schema.columns[at].field.clone(),
                None => name.clone(),
            },
            Expr::CountAll => "count".to_owned(),
            Expr::Call {
                name,
                distinct,
                args,
            } => {
                let mut parts = vec![name.clone()];
                if *distinct {
                    parts.push("distinct".to_owned());
                }
                parts.extend(args.iter().map(|arg| self.implicit_name(arg)));
                parts.join("_").replace(':', "")
            }
            _ => "expression".to_owned(),
        }
    }

    fn expr(&mut self, expr: &'a Expr) -> Result<Typed, SoqlError> {
        let boolean = Some(ColumnType::Checkbox);
        Ok(match expr {
            Expr::Name(name) => self.name(name)?,
            Expr::Text(text) => (
                Node::Const(Cell::Text(text.as_str().into())),
                Some(ColumnType::Text),
            ),
            Expr::Number(number) => {
                let decimal = Decimal::parse(number).unwrap_or(Decimal::ZERO);
                (Node::Const(Cell::number(decimal)), Some(ColumnType::Number))
            }
            Expr::Bool(value) => (Node::Const(Cell::Bool(*value)), boolean),
            Expr::Null => (Node::Const(Cell::Null), None),
            Expr::CountAll => self.aggregate(Fold::Count, false, None, ColumnType::Number),
            Expr::Call {
                name,
                distinct,
                args,
            } => self.call(name, *distinct, args)?,
            Expr::Compare { op, left, right } => {
                let (left, right) = self.same_type(&format!("op${}", op.sign()), left, right)?;
                (Node::Compare(*op, Box::new(left), Box::new(right)), boolean)
            }
            Expr::And(a, b) => (Node::And(self.boxed(a)?, self.boxed(b)?), boolean),
            Expr::Or(a, b) => (Node::Or(self.boxed(a)?, self.boxed(b)?), boolean),
            Expr::Not(a) => (Node::Not(self.boxed(a)?), boolean),
            Expr::In { what, list } => {
                let (node, kind) = self.expr(what)?;
                (Node::In(Box::new(node), self.cells(kind, list)?), boolean)
            }
            Expr::Like { what, pattern } => {
                let (what, pattern) = self.same_type("op$like", what, pattern)?;
                (Node::Like(Box::new(what), Box::new(pattern)), boolean)
            }
            Expr::IsNull(a) => (Node::IsNull(Box::new(self.expr(a)?.0)), boolean),
            Expr::Negated(a) => match self.expr(a)? {
                (node, Some(ColumnType::Number)) => {
                    (Node::Negated(Box::new(node)), Some(ColumnType::Number))
                }
                (_, kind) => return Err(mismatch("op$-", kind)),
            },
        })
    }

    fn boxed(&mut self, expr: &'a Expr) -> Result<Box<Node>, SoqlError> {
        match self.expr(expr)? {
            (node, None | Some(ColumnType::Checkbox)) => Ok(Box::new(node)),
            (_, kind) => Err(mismatch("op$and", kind)),
        }
    }

    fn name(&mut self, name: &str) -> Result<Typed, SoqlError> {
        let folded = fold(name);
        let alias = self
            .aliases
            .iter()
            .find(|(alias, _)| *alias == folded)
            .map(|(_, expr)| *expr);
        if let Some(expr) = alias.filter(|_| !self.resolving.contains(&folded)) {
            self.resolving.push(folded);
            let typed = self.expr(expr);
            self.resolving.pop();
            return typed;
        }
        if let Some(output) = all_system().find(|output| output.name == folded) {
            return Ok((output.node, Some(output.kind)));
        }
        let at = self
            .schema
            .position(name)
            .ok_or_else(|| SoqlError::NoSuchColumn(name.to_owned()))?;
        Ok((Node::Field(at), Some(self.schema.columns[at].kind)))
    }

    /// Both sides of a comparison, with a literal converted to the type of the other side.
    fn same_type(
        &mut self,
        function: &str,
        left: &'a Expr,
        right: &'a Expr,
    ) -> Result<(Node, Node), SoqlError> {
        let (mut left, left_kind) = self.expr(left)?;
        let (mut right, right_kind) = self.expr(right)?;
        if let (Some(a), Some(b)) = (left_kind, right_kind)
            && a != b
        {
            match (&left, &right) {
                (_, Node::Const(cell)) => right = Node::Const(self.convert(function, cell, a)?),
                (Node::Const(cell), _) => left = Node::Const(self.convert(function, cell, b)?),
                _ => return Err(mismatch(function, right_kind)),
            }
        }
        Ok((left, right))
    }

    fn convert(&self, function: &str, cell: &Cell, to: ColumnType) -> Result<Cell, SoqlError> {
        let refused = || mismatch(function, Some(ColumnType::Text));
        let Cell::Text(text) = cell else {
            return Err(mismatch(function, Some(ColumnType::Number)));
        };
        match to {
            ColumnType::Text => Ok(cell.clone()),
            ColumnType::Number => Decimal::parse(text).map(Cell::number).ok_or_else(refused),
            ColumnType::CalendarDate => {
                parse_floating(text).map(Cell::Floating).ok_or_else(refused)
            }
            ColumnType::FixedTimestamp => parse_fixed(text).map(Cell::Fixed).ok_or_else(refused),
            ColumnType::RowId => self
                .schema
                .ids
                .sid(text)
                .map(Cell::RowId)
                .ok_or_else(refused),
            ColumnType::Checkbox => text.parse().map(Cell::Bool).map_err(|_| refused()),
            ColumnType::RowVersion | ColumnType::Point | ColumnType::Location | ColumnType::Url => {
                Err(refused())
            }
        }
    }

    fn cells(
        &mut self,
        kind: Option<ColumnType>,
        list: &'a [Expr],
    ) -> Result<Vec<Cell>, SoqlError> {
        let mut cells = Vec::new();
        for expr in list {
            let (node, literal) = self.expr(expr)?;
            let Node::Const(cell) = node else {
                return Err(mismatch("#IN", literal));
            };
            cells.push(match kind {
                Some(kind) if literal.is_some_and(|literal| literal != kind) => {
                    self.convert("#IN", &cell, kind)?
                }
                _ => cell,
            });
        }
        cells.sort();
        Ok(cells)
    }

    fn call(&mut self, name: &str, distinct: bool, args: &'a [Expr]) -> Result<Typed, SoqlError> {
        use ColumnType::{CalendarDate, Checkbox, FixedTimestamp, Number, Text};
        if let Some(fold) = Fold::named(name) {
            let [arg] = args else {
                return Err(SoqlError::NoSuchFunction(name.to_owned()));
            };
            let already = self.aggregates.len();
            let (node, kind) = self.expr(arg)?;
            if self.aggregates.len() > already {
                return Err(SoqlError::AggregateOutside(name.to_owned()));
            }
            let kind = fold.result(kind).ok_or_else(|| mismatch(name, kind))?;
            return Ok(self.aggregate(fold, distinct, Some(node), kind));
        }
        let (function, wanted, result): (_, &[ColumnType], _) = match name {
            "lower" => (Function::Lower, &[Text], Text),
            "upper" => (Function::Upper, &[Text], Text),
            "substring" if args.len() == 2 => (Function::Substring, &[Text, Number], Text),
            "substring" => (Function::Substring, &[Text, Number, Number], Text),
            "starts_with" => (Function::StartsWith, &[Text, Text], Checkbox),
            "contains" => (Function::Contains, &[Text, Text], Checkbox),
            "date_trunc_ymd" => (Function::TruncDay, &[CalendarDate], CalendarDate),
            "date_trunc_ym" => (Function::TruncMonth, &[CalendarDate], CalendarDate),
            "date_trunc_y" => (Function::TruncYear, &[CalendarDate], CalendarDate),
            "datez_trunc_ymd" => (Function::TruncDay, &[FixedTimestamp], FixedTimestamp),
            "datez_trunc_ym" => (Function::TruncMonth, &[FixedTimestamp], FixedTimestamp),
            "datez_trunc_y" => (Function::TruncYear, &[FixedTimestamp], FixedTimestamp),
            _ => return Err(SoqlError::NoSuchFunction(name.to_owned())),
        };
        if wanted.len() != args.len() {
            return Err(SoqlError::NoSuchFunction(format!("{name}/{}", args.len())));
        }
        let mut nodes = Vec::new();
        for (arg, wanted) in args.iter().zip(wanted) {
            match self.expr(arg)? {
                (node, Some(kind)) if kind == *wanted => nodes.push(node),
                (node, None) => nodes.push(node),
                (_, kind) => return Err(mismatch(name, kind)),
            }
        }
        Ok((Node::Call(function, nodes), Some(result)))
    }

    fn aggregate(
        &mut self,
        fold: Fold,
        distinct: bool,
        arg: Option<Node>,
        kind: ColumnType,
    ) -> Typed {
        let wanted = Aggregate {
            fold,
            distinct,
            arg,
        };
        let at = self
            .aggregates
            .iter()
            .position(|known| *known == wanted)
            .unwrap_or_else(|| {
                self.aggregates.push(wanted);
                self.aggregates.len() - 1
            });
        (Node::Aggregate(at), Some(kind))
    }
}

impl Fold {
    fn named(name: &str) -> Option<Fold> {
        Some(match name {
            "count" => Fold::Count,
            "min" => Fold::Min,
            "max" => Fold::Max,
            "sum" => Fold::Sum,
            "avg" => Fold::Avg,
            _ => return None,
        })
    }

    fn result(self, arg: Option<ColumnType>) -> Option<ColumnType> {
        match self {
            Fold::Count => Some(ColumnType::Number),
            Fold::Min | Fold::Max => {
                arg.filter(|kind| kind.is_ordered() && *kind != ColumnType::Checkbox)
            }
            Fold::Sum | Fold::Avg => arg.filter(|kind| *kind == ColumnType::Number),
        }
    }
}

impl Op {
    fn sign(self) -> &'static str {
        match self {
            Op::Eq => "=",
            Op::Ne => "<>",
            Op::Lt => "<",
            Op::Le => "<=",
            Op::Gt => ">",
            Op::Ge => ">=",
        }
    }
}

fn mismatch(function: &str, kind: Option<ColumnType>) -> SoqlError {
    let actual = kind.map_or("null", ColumnType::in_headers).to_owned();
    SoqlError::TypeMismatch {
        function: function.to_owned(),
        actual,
    }
}

fn all_system() -> impl Iterator<Item = Output> {
    [
        (":id", ColumnType::RowId, Node::Id),
        (":version", ColumnType::RowVersion, Node::Version),
        (":created_at", ColumnType::FixedTimestamp, Node::Created),
        (":updated_at", ColumnType::FixedTimestamp, Node::Updated),
    ]
    .into_iter()
    .map(|(name, kind, node)| Output {
        name: name.to_owned(),
        kind,
        node,
    })
}
