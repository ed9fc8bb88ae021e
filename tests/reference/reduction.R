# drop1 and step of lmerTest, drop1 by likelihood ratio of lme4.
# Run in this folder: Rscript reduction.R > reduction.json
suppressMessages({library(lme4); library(lmerTest); library(pbkrtest); library(jsonlite)})

read <- function(name, factors) {
  frame <- read.csv(file.path("..", "data", paste0(name, ".csv")))
  frame$row <- seq_len(nrow(frame))
  for (f in factors) frame[[f]] <- factor(frame[[f]], levels = unique(frame[[f]]))
  frame
}
thinned <- function(frame) frame[frame$row %% 7 != 0 & frame$row %% 11 != 3, ]
hole <- function(frame) frame[!(frame$Variety == "Victory" & frame$nitro == "0.6"), ]

oats <- read("Oats", c("Block", "Variety", "nitro"))
oats_numeric <- read("Oats", c("Block", "Variety"))
cake <- read("cake", c("recipe", "replicate"))
dietox <- read("dietox", c("Pig", "Evit", "Cu"))
machines <- read("Machines", c("Machine", "Worker"))
sleep <- read("sleepstudy", "Subject")
sleep$item <- factor(sleep$row %% 7)
sleep$w <- 1 + sleep$row %% 3
sleep$noise <- sin(sleep$row * 2.7)
gap <- sleep
gap$noise[c(3, 50, 51, 120)] <- NA

cases <- list(
  unbalanced = list("Oats", "thinned", "yield ~ nitro * Variety + (1 | Block)", thinned(oats)),
  empty_cell = list("Oats", "hole", "yield ~ Variety * nitro + (1 | Block)", droplevels(hole(oats))),
  split_plot = list("Oats", "numeric", "yield ~ nitro * Variety + (1 | Block/Variety)", oats_numeric),
  no_intercept = list("Oats", "thinned", "yield ~ 0 + Variety + nitro + (1 | Block)", thinned(oats)),
  covariate = list("cake", "", "angle ~ recipe * temp + (1 | recipe:replicate)", cake),
  polynomial = list("cake", "", "angle ~ recipe + poly(temp, 3) + (1 | recipe:replicate)", cake),
  three_way = list("dietox", "thinned", "Weight ~ Time * Evit * Cu + (Time | Pig)", thinned(dietox)),
  slopes = list("Machines", "", "score ~ Machine + (0 + Machine | Worker)", machines),
  crossed = list("sleepstudy", "", "Reaction ~ Days * noise + (Days | Subject) + (1 | item)", sleep),
  uncorrelated = list("sleepstudy", "", "Reaction ~ Days + noise + (noise + Days || Subject)", sleep),
  weights = list("sleepstudy", "weights", "Reaction ~ Days * noise + (Days | Subject)", sleep),
  missing = list("sleepstudy", "missing", "Reaction ~ Days + noise + (Days | Subject)", gap),
  offset = list("sleepstudy", "", "Reaction ~ noise + offset(10 * Days) + (noise | Subject)", sleep)
)
fit_by_lme4 <- lme4::lmer
stepped <- setdiff(names(cases), c("empty_cell", "missing"))

f_table <- function(a) list(terms = rownames(a), sum_sq = a[["Sum Sq"]], num_df = a[["NumDF"]], den_df = a[["DenDF"]],
                            F = a[["F value"]], p = a[["Pr(>F)"]], eliminated = a[["Eliminated"]])
polished <- lmerControl(optimizer = "bobyqa", optCtrl = list(rhoend = 1e-10), check.conv.singular = "ignore")
out <- lapply(names(cases), function(name) {
  case <- cases[[name]]
  used <- case[[4]]
  if (name == "missing") used <- used[complete.cases(used), ]
  used$wt <- if (grepl("weights", case[[2]])) used$w else rep(1, nrow(used))
  assign("used", used, envir = globalenv())
  fit <- suppressMessages(eval(call("lmer", as.formula(case[[3]]), quote(used), weights = quote(wt), control = quote(polished))))
  plain <- eval(call("fit_by_lme4", as.formula(case[[3]]), quote(used), weights = quote(wt), control = quote(polished), REML = FALSE))
  lrt <- suppressMessages(lme4:::drop1.merMod(plain, test = "Chisq"))
  result <- list(data = case[[1]], change = case[[2]], formula = case[[3]], n = nobs(fit),
    satterthwaite = f_table(drop1(fit, ddf = "Satterthwaite")),
    `kenward-roger` = f_table(drop1(fit, ddf = "Kenward-Roger")),
    lrt = list(terms = rownames(lrt), df = lrt[["npar"]], aic = lrt[["AIC"]], chisq = lrt[["LRT"]], p = lrt[["Pr(Chi)"]]))
  if (name %in% stepped) {
    s <- suppressWarnings(suppressMessages(step(fit)))
    r <- s$random
    result$step <- list(
      random = list(n_params = r[["npar"]], llf = r[["logLik"]], chisq = r[["LRT"]], df = r[["Df"]],
                    p = r[["Pr(>Chisq)"]], eliminated = r[["Eliminated"]]),
      fixed = f_table(s$fixed), minus2_loglik = -2 * c(logLik(get_model(s))))
  }
  result
})
names(out) <- names(cases)
cat(toJSON(out, digits = NA, auto_unbox = FALSE, pretty = TRUE, na = "null"), "\n")
