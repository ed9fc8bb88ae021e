# Estimated marginal means and differences of emmeans where factors are nested: the dates of Alfalfa's cuts within "cut" and
# "uncut", on unbalanced rows.
# Run in this folder: Rscript nested_margins.R > nested_margins.json
suppressMessages({library(lme4); library(lmerTest); library(emmeans); library(jsonlite)})
emm_options(lmer.df = "satterthwaite", lmerTest.limit = 1e5)

frame <- read.csv(file.path("..", "data", "Alfalfa.csv"))
for (f in c("Date", "Variety", "Block")) frame[[f]] <- factor(frame[[f]], levels = unique(frame[[f]]))
cut <- c(None = "uncut", S1 = "cut", S20 = "cut", O7 = "cut")
month <- c(None = "none", S1 = "september", S20 = "september", O7 = "october")
number <- c(None = "1", S1 = "1", S20 = "2", O7 = "3")
for (name in c("cut", "month", "number")) frame[[name]] <- factor(get(name)[as.character(frame$Date)])
row <- seq_len(nrow(frame))
frame <- frame[row %% 7 != 0 & row %% 11 != 3, ]
polished <- lmerControl(optimizer = "bobyqa", optCtrl = list(rhoend = 1e-10), check.rankX = "silent.drop.cols")

as_table <- function(x, value) {
  s <- as.data.frame(summary(x, infer = c(TRUE, TRUE)))
  names(s)[names(s) == value] <- "estimate"
  s <- s[!is.na(s$estimate), ]  # a comparison of one level with none
  keys <- setdiff(names(s), c("estimate", "SE", "df", "lower.CL", "upper.CL", "t.ratio", "p.value"))
  list(keys = lapply(s[keys], as.character), estimate = s$estimate, std_error = s$SE, df = s$df, statistic = s$t.ratio,
       p_value = s$p.value, ci_lower = s$lower.CL, ci_upper = s$upper.CL)
}

random <- "+ (1 | Block/Variety)"
case <- function(fixed, args, make) list(formula = paste("Yield ~", fixed, random), args = args, make = make)
plain <- function(fixed, specs, ...) case(fixed, c(list(specs = specs), list(...)), function(m) emmeans(m, specs, ...))
pairs_of <- function(fixed, specs, by = NULL) {
  case(fixed, list(specs = specs, by = by, pairwise = TRUE), function(m) contrast(emmeans(m, specs, by = by), "pairwise"))
}
cases <- list(
  outer = plain("cut/Date", "cut"), inner = plain("cut/Date", "Date"), both = plain("cut/Date", c("cut", "Date")),
  outer_pairs = pairs_of("cut/Date", "cut"), inner_pairs = pairs_of("cut/Date", "Date"),
  additive = plain("cut + Date + Variety", "cut"), other = plain("cut/Date + Variety", "Variety"),
  inner_by = plain("cut/Date + Variety", "Date", by = "Variety"),
  outer_proportional = plain("cut/Date + Variety", "cut", weights = "proportional"),
  other_proportional = plain("cut/Date + Variety", "Variety", weights = "proportional"),
  crossed = plain("cut/Date * Variety", "Variety"), crossed_outer = plain("cut/Date * Variety", "cut"),
  crossed_cells = plain("cut/Date * Variety", c("Date", "Variety")),
  crossed_pairs = pairs_of("cut/Date * Variety", "cut", by = "Variety"),
  three = plain("cut/month/Date", "cut"), three_middle = plain("cut/month/Date", "month"),
  three_inner = plain("cut/month/Date", "Date"),
  numbered_outer = plain("cut/number", "cut"), numbered = plain("cut/number", "number"),
  numbered_other = plain("cut/number + Variety", "Variety"), numbered_pairs = pairs_of("cut/number", "number"),
  within = pairs_of("cut/Date", "Date", by = "cut"),
  at = plain("cut/Date + Variety", "Date", at = list(cut = "cut")),
  at_inner = plain("cut/Date + Variety", "cut", at = list(Date = c("None", "S1", "O7")))
)
out <- lapply(cases, function(case) {
  m <- lmer(as.formula(case$formula), frame, control = polished)
  x <- suppressMessages(case$make(m))
  table <- as_table(x, if ("contrast" %in% names(as.data.frame(x))) "estimate" else "emmean")
  c(list(formula = case$formula, args = case$args), table)
})
cat(toJSON(out, digits = NA, auto_unbox = TRUE, pretty = TRUE, na = "null", null = "null"), "\n")
