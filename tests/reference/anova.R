# Anova tables of lmerTest for unbalanced data, empty cells and terms without their margins.
# Run in this folder: Rscript anova.R > anova.json
suppressMessages({library(lme4); library(lmerTest); library(pbkrtest); library(jsonlite)})

read <- function(name, factors) {
  frame <- read.csv(file.path("..", "data", paste0(name, ".csv")))
  frame$row <- seq_len(nrow(frame))
  for (f in factors) frame[[f]] <- factor(frame[[f]], levels = unique(frame[[f]]))
  frame
}
thinned <- function(frame) frame[frame$row %% 7 != 0 & frame$row %% 11 != 3, ]

oats <- read("Oats", c("Block", "Variety", "nitro"))
oats_numeric <- read("Oats", c("Block", "Variety"))
cake <- read("cake", c("recipe", "replicate"))
dietox <- read("dietox", c("Pig", "Evit", "Cu"))
machines <- read("Machines", c("Machine", "Worker"))
hole <- function(frame) frame[!(frame$Variety == "Victory" & frame$nitro == "0.6"), ]

cases <- list(
  unbalanced = list("Oats", "thinned", "yield ~ nitro * Variety + (1 | Block)", thinned(oats)),
  empty_cell = list("Oats", "hole", "yield ~ Variety * nitro + (1 | Block)", droplevels(hole(oats))),
  empty_cell_unbalanced = list("Oats", "hole, thinned", "yield ~ Variety * nitro + (1 | Block)", thinned(hole(oats))),
  no_main_effect = list("Oats", "thinned", "yield ~ Variety + Variety:nitro + (1 | Block)", thinned(oats)),
  slopes_within = list("Oats", "numeric, thinned", "yield ~ Variety + Variety:nitro + (1 | Block)", thinned(oats_numeric)),
  no_intercept = list("Oats", "thinned", "yield ~ 0 + Variety + nitro + (1 | Block)", thinned(oats)),
  covariate = list("cake", "", "angle ~ recipe * temp + (1 | recipe:replicate)", cake),
  three_way = list("dietox", "thinned", "Weight ~ Time * Evit * Cu + (1 | Pig)", thinned(dietox)),
  slopes = list("Machines", "thinned", "score ~ Machine + (0 + Machine | Worker)", thinned(machines)),
  slopes_balanced = list("Machines", "", "score ~ Machine + (0 + Machine | Worker)", machines),
  split_plot = list("Oats", "", "yield ~ nitro * Variety + (1 | Block/Variety)", oats)
)

table_of <- function(fit, type, ddf) {
  a <- anova(fit, type = type, ddf = ddf)
  list(terms = rownames(a), sum_sq = a[["Sum Sq"]], num_df = a[["NumDF"]], den_df = a[["DenDF"]], F = a[["F value"]],
       p = a[["Pr(>F)"]])
}
polished <- lmerControl(optimizer = "bobyqa", optCtrl = list(rhoend = 1e-10))
out <- lapply(cases, function(case) {
  fit <- suppressMessages(lmer(as.formula(case[[3]]), case[[4]], control = polished))
  types <- c(I = 1, II = 2, III = 3)
  list(data = case[[1]], change = case[[2]], formula = case[[3]], n = nobs(fit), minus2_loglik = -2 * c(logLik(fit)),
       satterthwaite = lapply(types, function(t) table_of(fit, t, "Satterthwaite")),
       `kenward-roger` = lapply(types, function(t) table_of(fit, t, "Kenward-Roger")))
})
cat(toJSON(out, digits = NA, auto_unbox = FALSE, pretty = TRUE, na = "null"), "\n")
