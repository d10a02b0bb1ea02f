//! Where expected rows come from: lake files, the catalog, the recipes.

mod catalog_lines;
pub mod lake;
pub mod recipes;
